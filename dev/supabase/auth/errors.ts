import { DatabaseAway } from '../transact.ts'

/** An error in GoTrue's shape. */
export class AuthError extends Error {
  readonly status: number
  readonly code: string
  readonly extra: Record<string, unknown>

  constructor(status: number, code: string, message: string, extra: Record<string, unknown> = {}) {
    super(message)
    this.name = 'AuthError'
    this.status = status
    this.code = code
    this.extra = extra
  }
}

/**
 * Clients that send `X-Supabase-Api-Version: 2024-01-01` or later read `code` as the name of the error; older ones read
 * `code` as the status and `error_code` as the name.
 */
export function authErrorResponse(error: unknown, apiVersion: string | null): Response {
  const known = error instanceof AuthError ? error : unexpected(error)
  const modern = apiVersion !== null && apiVersion >= '2024-01-01'
  const body = modern
    ? { code: known.code, message: known.message, ...known.extra }
    : { code: known.status, error_code: known.code, msg: known.message, ...known.extra }
  const headers: Record<string, string> = {
    'content-type': 'application/json',
    'x-sb-error-code': known.code,
  }
  if (modern) headers['x-supabase-api-version'] = '2024-01-01'
  return new Response(JSON.stringify(body), { status: known.status, headers })
}

function unexpected(error: unknown): AuthError {
  if (error instanceof DatabaseAway)
    return new AuthError(503, 'unexpected_failure', 'The database does not answer')
  return new AuthError(500, 'unexpected_failure', 'The development Auth face failed')
}
