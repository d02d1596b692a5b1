import { ConfigError } from '../core/config-error.ts'
import { TARGETS, type Target } from './settings.ts'

/** FUNCTION_TARGET: which function the all-in-one entry serves; null for all of them. */
export function readTarget(env: Readonly<Record<string, string | undefined>> = process.env): Target | null {
  const value = env.FUNCTION_TARGET?.trim()
  if (value === undefined || value === '') return null
  const target = TARGETS.find((name) => name === value)
  if (target === undefined)
    throw new ConfigError([`FUNCTION_TARGET must be one of ${TARGETS.join(', ')}, or unset for all of them`])
  return target
}
