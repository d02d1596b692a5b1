import { parseDurationMs } from './duration.ts'
import { parseExpression } from './expression.ts'

/** One day: the cap on every wait that a target or an expression asks for. */
const MAX_WAIT_MS = 86_400_000

const WAIT_HEADERS = [
  'retry-after',
  'x-ratelimit-reset',
  'x-ratelimit-reset-requests',
  'x-ratelimit-reset-tokens',
]

/**
 * Milliseconds until the next attempt: what the answer asks for (seconds, a date or `6m5s`; 0 is at once), else the message's own
 * expression, else the default min(86400, e^(2.5 n)) seconds for the n-th retry.
 */
export function retryWaitMs(attempt: {
  header: Record<string, string[]>
  retryDelay: string | null
  /** Failed attempts before this one. */
  retried: number
  nowMs: number
}): number {
  for (const name of WAIT_HEADERS) {
    const text = attempt.header[name]?.[0]
    const asked = text === undefined ? null : parseWaitMs(text, attempt.nowMs)
    if (asked !== null) return clamp(asked)
  }
  if (attempt.retryDelay !== null) {
    const ms = parseExpression(attempt.retryDelay)(attempt.retried)
    if (!Number.isNaN(ms)) return clamp(ms)
  }
  return clamp(Math.exp(2.5 * (attempt.retried + 1)) * 1000)
}

/** The target says that no retry can help. */
export function isFinalFailure(status: number, header: Record<string, string[]>): boolean {
  return status === 489 && header['upstash-nonretryable-error']?.[0]?.toLowerCase() === 'true'
}

function parseWaitMs(text: string, nowMs: number): number | null {
  const ms = parseDurationMs(text)
  if (ms !== null) return ms
  // Date.parse takes nearly anything, such as `-5`; a date of HTTP names its day and month.
  const date = /[a-z]{3}/i.test(text) ? Date.parse(text) : Number.NaN
  return Number.isNaN(date) ? null : date - nowMs
}

function clamp(ms: number): number {
  return Math.min(MAX_WAIT_MS, Math.max(0, ms))
}
