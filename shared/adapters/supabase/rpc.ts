import { PostgrestClient } from '@supabase/postgrest-js'
import { AppError, isErrorCode } from '../../core/errors.ts'
import { storableJson } from '../../core/storable-json.ts'

export interface SupabaseOptions {
  /** Project URL, without `/rest/v1`. */
  url: string
  anonKey: string
  /** JWT whose role may EXECUTE the functions it needs and nothing else. */
  roleToken: string
  /** A call without an answer by then counts as "not known whether it happened". */
  timeoutMs: number
}

/** Calls one SQL function: one transaction. Rejects with AppError, or with Error for what only a defect can cause. */
export type Rpc = <T>(name: string, argument: Record<string, unknown>) => Promise<T>

// SQLSTATE classes and codes after which the same call may succeed: connection, insufficient resources, operator intervention,
// serialization, deadlock, lock and statement timeouts.
const RETRYABLE = /^(08|53|57|40001$|40P01$|55P03$|25006$|PGRST00)/

export function createRpc({ url, anonKey, roleToken, timeoutMs }: SupabaseOptions): Rpc {
  const client = new PostgrestClient(`${url}/rest/v1`, {
    headers: { apikey: anonKey, Authorization: `Bearer ${roleToken}` },
    fetch: (input, init) => fetch(input, { ...init, signal: AbortSignal.timeout(timeoutMs) }),
  })
  return async <T>(name: string, argument: Record<string, unknown>): Promise<T> => {
    // Postgres refuses NUL and half surrogate pairs, which tools and models do write
    const p = storableJson(argument, -16) // room for what we wrap around a model's own value, which is checked at full depth
    if (p === undefined) throw new AppError('invalid_request', 'The value is nested too deeply')
    const { data, error, status } = await client.rpc(name, { p })
    if (error === null) return data as T
    if (error.code?.startsWith('PT') && isErrorCode(error.hint)) {
      throw new AppError(
        error.hint,
        error.message,
        error.hint === 'not_ready' || error.hint === 'unavailable' ? { retryAfterSeconds: 1 } : {},
      )
    }
    if (status === 0 || status >= 500 || status === 429 || RETRYABLE.test(error.code ?? '')) {
      throw new AppError('unavailable', 'The database does not answer', {
        retryAfterSeconds: 2,
        cause: error,
      })
    }
    throw new Error(`${name} failed: ${error.code} ${error.message}`, { cause: error })
  }
}

/** Rejects unless the schema is there and the role of this service is bound by row security. */
export async function assertReady(rpc: Rpc): Promise<void> {
  const { bypass_rls, role } = await rpc<{ bypass_rls: boolean; role: string }>('agent_ready', {})
  if (bypass_rls) {
    throw new AppError(
      'unavailable',
      `Database role ${role} can bypass row security: give this service its own narrow role`,
    )
  }
}
