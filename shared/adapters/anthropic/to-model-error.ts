import { ModelError, type ModelErrorKind } from '../../ports/model.ts'

const MAX_MESSAGE_CHARS = 500
/** Nobody waits longer for a model than a day; a header that says more is nonsense. */
const MAX_RETRY_AFTER_SECONDS = 86_400

/** The parts of the SDK's APIError that are read. By shape, so that the SDK is loaded for requests only, not for this. */
interface WireError {
  status?: unknown
  type?: unknown
  apiMessage?: unknown
  message?: unknown
  headers?: unknown
  cause?: unknown
}

/**
 * Every failure of a turn as a ModelError. Decided by HTTP status, or by `error.type` where a stream failed after its 200.
 * Source: platform.claude.com/docs/en/api/errors.
 */
export function toModelError(error: unknown, secret: string): ModelError {
  if (error instanceof ModelError) return error
  const wire: WireError = typeof error === 'object' && error !== null ? error : {}
  const status = typeof wire.status === 'number' ? wire.status : undefined
  const type = typeof wire.type === 'string' ? wire.type : undefined
  const said = describe(wire, secret)
  const retryAfterSeconds = readRetryAfter(wire.headers)
  const kind =
    status === undefined
      ? kindOfType(type)
      : kindOfStatus(status, type, said, retryAfterSeconds !== undefined)
  const where = status === undefined ? (type ?? 'connection') : `HTTP ${status}`
  return new ModelError(kind, `model API: ${where}: ${said}`, {
    retryAfterSeconds,
    ...(status === undefined && type === undefined ? { cause: wire.cause } : {}),
  })
}

function kindOfStatus(
  status: number,
  type: string | undefined,
  said: string,
  hasRetryAfter: boolean,
): ModelErrorKind {
  if (status === 429) return !hasRetryAfter && saysSpendCap(said) ? 'spend_cap' : 'rate_limited'
  if (status === 402 || (status === 400 && saysSpendCap(said))) return 'spend_cap'
  if (status === 401 || status === 403) return 'unauthorized'
  if (status === 529 || type === 'overloaded_error') return 'overloaded'
  // 408, 409 and 499 tell of the moment (time-out, conflict, closed), not of the request.
  if (status >= 500 || status < 400 || status === 408 || status === 409 || status === 499)
    return 'unavailable'
  return 'invalid_request'
}

function kindOfType(type: string | undefined): ModelErrorKind {
  switch (type) {
    case 'overloaded_error':
      return 'overloaded'
    case 'rate_limit_error':
      return 'rate_limited'
    case 'billing_error':
      return 'spend_cap'
    case 'authentication_error':
    case 'permission_error':
      return 'unauthorized'
    case 'invalid_request_error':
    case 'request_too_large':
    case 'not_found_error':
      return 'invalid_request'
    default:
      return 'unavailable'
  }
}

/** A spent budget comes as 429 without Retry-After, or as 400 "credit balance is too low": waiting does not help. */
function saysSpendCap(said: string): boolean {
  return /\b(spend|spending|usage|credit|billing|monthly)\b.*\b(limits?|caps?|balance|quota)\b|\bcredit balance\b/i.test(
    said,
  )
}

function describe(wire: WireError, secret: string): string {
  const text =
    typeof wire.apiMessage === 'string'
      ? wire.apiMessage
      : `${typeof wire.message === 'string' ? wire.message : 'failed'}${causeCode(wire.cause)}`
  const safe = secret === '' ? text : text.replaceAll(secret, '[key]')
  return safe.slice(0, MAX_MESSAGE_CHARS).toWellFormed()
}

/** `ECONNREFUSED` and the like sit one or two causes deep in what `fetch` throws. */
function causeCode(cause: unknown, depth = 0): string {
  if (typeof cause !== 'object' || cause === null || depth > 3) return ''
  const { code, cause: inner } = cause as { code?: unknown; cause?: unknown }
  return typeof code === 'string' ? ` (${code})` : causeCode(inner, depth + 1)
}

function readRetryAfter(headers: unknown): number | undefined {
  if (!(headers instanceof Headers)) return undefined
  const value = headers.get('retry-after')
  if (value === null || value.trim() === '') return undefined
  const seconds = /^\d+(\.\d+)?$/.test(value.trim()) ? Number(value) : (Date.parse(value) - Date.now()) / 1000
  if (!Number.isFinite(seconds)) return undefined
  return Math.min(Math.max(Math.ceil(seconds), 0), MAX_RETRY_AFTER_SECONDS)
}
