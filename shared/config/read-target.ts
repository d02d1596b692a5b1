import { ConfigError } from '../core/config-error.ts'
import { SERVICES, type ServiceName } from './settings.ts'

/** FUNCTION_TARGET: which one the all-in-one entry serves; null for the four functions together. */
export function readTarget(
  env: Readonly<Record<string, string | undefined>> = process.env,
): ServiceName | null {
  const value = env.FUNCTION_TARGET?.trim()
  if (value === undefined || value === '') return null
  const target = SERVICES.find((name) => name === value)
  if (target === undefined)
    throw new ConfigError([
      `FUNCTION_TARGET must be one of ${SERVICES.join(', ')}, or unset for the four functions together`,
    ])
  return target
}
