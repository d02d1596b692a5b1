import { ConfigError } from '../core/config-error.ts'
import {
  common,
  door,
  execute,
  front,
  logs,
  type ServiceName,
  type Setting,
  status,
  step,
} from './settings.ts'
import { VERSION } from './version.ts'

type Values<T> = { readonly [K in keyof T]: T[K] extends Setting<infer V> ? V : never }
interface Fixed<T extends ServiceName> {
  readonly target: T
  readonly version: string
  /** True when this function is one of several behind one entry: then it has no short path `/` of its own. */
  readonly mounted: boolean
}

export type ExecuteConfig = Fixed<'execute'> & Values<typeof common & typeof front & typeof execute>
export type StatusConfig = Fixed<'status'> & Values<typeof common & typeof front & typeof status>
export type LogsConfig = Fixed<'logs'> & Values<typeof common & typeof front & typeof logs>
export type StepConfig = Fixed<'step'> & Values<typeof common & typeof step>
export type DoorConfig = Fixed<'door'> & Values<typeof common & typeof door>

export interface Configs {
  execute: ExecuteConfig
  status: StatusConfig
  logs: LogsConfig
  step: StepConfig
  door: DoorConfig
}

const SETTINGS = {
  execute: { ...common, ...front, ...execute },
  status: { ...common, ...front, ...status },
  logs: { ...common, ...front, ...logs },
  step: { ...common, ...step },
  door: { ...common, ...door },
}

/**
 * The settings of one function, validated and frozen.
 *
 * @param mounted the function is one of several behind one entry
 * @throws ConfigError that names all faults at once
 */
export function readConfig<T extends ServiceName>(
  target: T,
  env: Readonly<Record<string, string | undefined>> = process.env,
  { mounted = false } = {},
): Configs[T] {
  const faults: string[] = []
  const values: Record<string, unknown> = { target, version: VERSION, mounted }
  for (const [name, setting] of Object.entries<Setting<unknown>>(SETTINGS[target])) {
    const text = env[setting.env]?.trim()
    if (text === undefined || text === '') {
      if (setting.fallback === undefined) faults.push(`${setting.env} is missing: ${setting.purpose}`)
      values[name] = setting.fallback
      continue
    }
    const parsed = setting.schema.safeParse(text)
    if (parsed.success) values[name] = parsed.data
    else
      faults.push(
        `${setting.env} ${parsed.error.issues.map((issue) => issue.message).join('; ')}: ${setting.purpose}`,
      )
  }
  if (values.store === 'postgres' && values.databaseUrl === '')
    faults.push(`DATABASE_URL is missing: ${common.databaseUrl.purpose}`)
  faults.push(...missingWith(values.sandbox, values))
  if (faults.length > 0) throw new ConfigError(faults)
  return Object.freeze(values) as unknown as Configs[T]
}

/** What the chosen sandbox cannot do without. */
function missingWith(sandbox: unknown, values: Readonly<Record<string, unknown>>): string[] {
  const needed: Setting<unknown>[] = []
  if (sandbox === 'daemon') needed.push(step.sandboxUrl, step.sandboxToken)
  if (sandbox === 'kubernetes') needed.push(step.toolImage)
  const names = new Map(Object.entries<Setting<unknown>>(step).map(([name, { env }]) => [env, name]))
  return needed
    .filter(({ env }) => values[names.get(env) ?? ''] === '')
    .map(({ env, purpose }) => `${env} is missing: ${purpose}`)
}
