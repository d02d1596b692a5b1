import { ConfigError } from '../core/config-error.ts'
import { AppError } from '../core/errors.ts'
import type { SqlCall } from './sql-call.ts'

export interface RoleCheck {
  /** Calls nothing before the database has said that the role of this service is bound by row security. */
  call: SqlCall
  /** Rejects with AppError `unavailable` while the database is not there or the role is not fit. */
  ready: () => Promise<void>
}

interface Ready {
  role: string
  bypass_rls: boolean
  bypass_through: string | null
}

/**
 * Whether row security binds the role that `call` acts as. Asked once at the start, beside everything else that a start does; until
 * then calls wait for it, and with a role that is not fit none is ever made.
 *
 * @param refuse told when the service must not run; its message says what to do
 */
export function checkRole(call: SqlCall, refuse: (error: ConfigError) => void): RoleCheck {
  let isFit = false
  let asking: Promise<void> | undefined

  const ask = async (): Promise<void> => {
    const fault = await faultOfRole(call)
    if (fault === null) {
      isFit = true
      return
    }
    isFit = false
    refuse(new ConfigError([fault]))
    throw new AppError('unavailable', 'The database role of this service is not fit')
  }
  const ready = (): Promise<void> => {
    asking ??= ask().finally(() => {
      asking = undefined
    })
    return asking
  }
  return {
    ready,
    async call(name, argument) {
      if (!isFit) await ready()
      return call(name, argument)
    },
  }
}

/** What is wrong with the role, null when nothing is. Rejects when the database cannot be asked. */
async function faultOfRole(call: SqlCall): Promise<string | null> {
  const advice =
    'give this function its own narrow role, agent_api, (step) agent_step or (door) agent_door, by SUPABASE_ROLE_TOKEN or, with STORE=postgres, DATABASE_URL'
  try {
    const { role, bypass_rls, bypass_through } = await call<Ready>('agent_ready', {})
    if (!bypass_rls) return null
    const through =
      bypass_through === null || bypass_through === role ? '' : ` as a member of ${bypass_through}`
    return `The database role ${role} can step around row security${through}: ${advice}`
  } catch (error) {
    if (!isDenied(error)) throw error
    return `The database does not let the role of this function call agent_ready: ${advice}`
  }
}

/** SQLSTATE insufficient_privilege, whichever adapter met it. */
function isDenied(error: unknown): boolean {
  const cause = error instanceof Error ? error.cause : undefined
  return typeof cause === 'object' && cause !== null && 'code' in cause && cause.code === '42501'
}
