import { AppError, type ErrorCode, isErrorCode } from './errors.ts'
import { storableJson } from './storable-json.ts'

/** What an SQL function's failure looked like, whichever way it was called. */
export interface SqlFault {
  /** SQLSTATE, a code of PostgREST, or undefined when no answer of either was had. */
  code: string | undefined
  message: string
  hint: string | null | undefined
  /** HTTP status where there was one; 0 without an answer. */
  status?: number
}

// SQLSTATE classes and codes after which the same call may succeed: connection, transaction state (a server that became read-only in a
// failover), rollbacks (serialization, deadlock), resources, object state (lock timeout), operator intervention, system and internal
// errors. PGRST00x: PostgREST has no connection.
const RETRYABLE = /^(08|25|40|53|55|57|58|XX|PGRST00)/
// None begins with E, as the codes of sockets do (EPIPE).
const SQLSTATE = /^[0-9A-DF-Z][0-9A-Z]{4}$/

/** When trying again makes sense. Runs take minutes: a place among them is not free a second later. */
const RETRY_SECONDS: Partial<Record<ErrorCode, number>> = { not_ready: 1, unavailable: 1, too_many_runs: 30 }

/** The argument as Postgres takes it: NUL and half surrogate pairs, which tools and models do write, are repaired. */
export function sqlArgument(argument: Record<string, unknown>): unknown {
  const p = storableJson(argument, -16) // room for what we wrap around a model's own value, which is checked at full depth
  if (p === undefined) throw new AppError('invalid_request', 'The value is nested too deeply')
  return p
}

/**
 * The error a caller of the store gets: what the function raised for it, `unavailable` when it is not known whether it happened or
 * trying again may help, else an Error, which only a defect can cause.
 */
export function sqlError(name: string, { code, message, hint, status }: SqlFault, cause: unknown): Error {
  if (code?.startsWith('PT') && isErrorCode(hint)) {
    const retryAfterSeconds = RETRY_SECONDS[hint]
    return new AppError(hint, message, retryAfterSeconds === undefined ? {} : { retryAfterSeconds })
  }
  if (isRetryable(code, status ?? 0)) {
    // PostgREST's faults are plain objects, which a log cannot show
    const shown =
      cause instanceof Error ? cause : new Error(`${name}: ${code || status || 'no answer'} ${message}`)
    return new AppError('unavailable', 'The database does not answer', { retryAfterSeconds: 2, cause: shown })
  }
  return new Error(`${name} failed: ${code} ${message}`, { cause })
}

function isRetryable(code: string | undefined, status: number): boolean {
  if (code !== undefined && RETRYABLE.test(code)) return true
  // A SQLSTATE says more than the status that PostgREST makes of it.
  if (code !== undefined && SQLSTATE.test(code)) return false
  return status === 0 || status >= 500 || status === 429
}
