import { HTTPException } from 'hono/http-exception'
import type { ErrorBody } from '../contract/error.ts'
import { AppError, ERROR_STATUS } from '../core/errors.ts'
import type { AppContext } from './env.ts'

/** Seconds named where a dependency did not say how long it will be away. */
const DEFAULT_RETRY_AFTER_SECONDS = 2

/**
 * The only place where an error becomes an answer. A caller sees the message of an AppError; any other error is logged and becomes
 * `internal` without its text.
 *
 * @param extra further fields of every error body of the service, e.g. `success: false`
 */
export function errorResponse(context: AppContext, error: unknown, extra: Partial<ErrorBody> = {}): Response {
  const known = toAppError(error)
  const requestId = context.get('requestId')
  if (known.status >= 500) {
    context.get('log')?.error({ code: known.code, err: known.cause ?? error }, known.message)
  }
  const headers = new Headers({ 'content-type': 'application/json', 'cache-control': 'no-store' })
  const retryAfter = known.retryAfterSeconds ?? (isTransient(known) ? DEFAULT_RETRY_AFTER_SECONDS : undefined)
  if (retryAfter !== undefined) headers.set('retry-after', String(Math.max(1, Math.ceil(retryAfter))))
  if (known.status === 401) headers.set('www-authenticate', 'Bearer')
  if (known instanceof MethodNotAllowed) headers.set('allow', known.allow)
  const body: ErrorBody = {
    ...extra,
    error: known.message,
    detail: known.message,
    message: known.message,
    code: known.code,
    request_id: requestId,
  }
  return new Response(JSON.stringify(body), { status: known.status, headers })
}

export class MethodNotAllowed extends AppError {
  readonly allow: string
  constructor(methods: readonly string[]) {
    super('method_not_allowed', 'Method not allowed')
    this.allow = methods.join(', ')
  }
}

function isTransient(error: AppError): boolean {
  return error.status === 503 || error.status === 429
}

function toAppError(error: unknown): AppError {
  if (error instanceof AppError) return error
  if (error instanceof HTTPException) {
    const code = (['body_too_large', 'unsupported_media_type', 'not_found', 'invalid_request'] as const).find(
      (name) => ERROR_STATUS[name] === error.status,
    )
    if (code !== undefined) return new AppError(code, error.message, { cause: error })
  }
  return new AppError('internal', 'Internal error', { cause: error })
}
