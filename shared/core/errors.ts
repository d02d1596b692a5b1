/**
 * The closed list of error codes that callers see, with the HTTP status of each. `code` in every error body is one of these
 * names; SQL functions raise `PT<status>` with the name as HINT (see supabase/migrations).
 */
export const ERROR_STATUS = {
  invalid_request: 400,
  invalid_json: 400,
  prompt_required: 400,
  run_id_required: 400,
  unknown_action: 400,
  invalid_state: 400,
  invalid_attachment: 400,
  unauthorized: 401,
  signature_invalid: 401,
  insufficient_credits: 402,
  forbidden: 403,
  run_not_found: 404,
  not_found: 404,
  method_not_allowed: 405,
  request_timeout: 408,
  idempotency_conflict: 409,
  already_answered: 409,
  ticket_in_use: 409,
  body_too_large: 413,
  unsupported_media_type: 415,
  rate_limited: 429,
  too_many_runs: 429,
  too_many_streams: 429,
  headers_too_large: 431,
  internal: 500,
  unavailable: 503,
  not_ready: 503,
} as const

export type ErrorCode = keyof typeof ERROR_STATUS

/** An error that a caller may see: its message is written for them. Anything else that is thrown becomes `internal`. */
export class AppError extends Error {
  readonly code: ErrorCode
  /** Seconds after which trying again makes sense; sent as `Retry-After`. */
  readonly retryAfterSeconds: number | undefined

  constructor(
    code: ErrorCode,
    message: string,
    options: { retryAfterSeconds?: number; cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause })
    this.name = 'AppError'
    this.code = code
    this.retryAfterSeconds = options.retryAfterSeconds
  }

  get status(): number {
    return ERROR_STATUS[this.code]
  }
}

export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === 'string' && Object.hasOwn(ERROR_STATUS, value)
}
