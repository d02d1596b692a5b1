import pg from 'pg'
import { DatabaseAway } from '../transact.ts'

/** An error of the REST face itself, in PostgREST's shape. Codes: docs.postgrest.org, "Errors". */
export class RestError extends Error {
  readonly status: number
  readonly code: string
  readonly details: string | null
  readonly hint: string | null

  constructor(
    status: number,
    code: string,
    message: string,
    details: string | null = null,
    hint: string | null = null,
  ) {
    super(message)
    this.name = 'RestError'
    this.status = status
    this.code = code
    this.details = details
    this.hint = hint
  }
}

export interface ErrorResponse {
  status: number
  headers: Record<string, string>
  body: { code: string; details: unknown; hint: unknown; message: string }
}

/** `authenticated` is false for anon: PostgREST then answers 401 instead of 403 to a missing privilege. */
export function errorResponse(error: unknown, authenticated: boolean): ErrorResponse {
  if (error instanceof RestError) {
    const { status, code, details, hint, message } = error
    const headers = status === 401 ? { 'www-authenticate': 'Bearer error="invalid_token"' } : {}
    return { status, headers: { ...headers }, body: { code, details, hint, message } }
  }
  if (error instanceof DatabaseAway) return databaseAway(error)
  if (error instanceof pg.DatabaseError && error.code !== undefined)
    return databaseError(error, authenticated)
  const message = 'The development REST face failed'
  return { status: 500, headers: {}, body: { code: 'PGRSTX00', details: null, hint: null, message } }
}

function databaseAway(error: DatabaseAway): ErrorResponse {
  if (error.kind === 'busy') {
    const message = 'Timed out acquiring connection from connection pool.'
    return { status: 504, headers: {}, body: { code: 'PGRST003', details: null, hint: null, message } }
  }
  const message = 'Database client error. Retrying the connection.'
  return {
    status: 503,
    headers: { 'retry-after': '1' },
    body: { code: 'PGRST001', details: null, hint: null, message },
  }
}

function databaseError(error: pg.DatabaseError, authenticated: boolean): ErrorResponse {
  const code = error.code ?? ''
  if (code === 'PGRST') return raisedResponse(error)
  const status = statusOf(code, error.message, authenticated)
  const headers: Record<string, string> = status === 401 ? { 'www-authenticate': 'Bearer' } : {}
  return {
    status,
    headers,
    body: { code, details: error.detail ?? null, hint: error.hint ?? null, message: error.message },
  }
}

const EXACT: Record<string, number> = {
  23503: 409,
  23505: 409,
  25006: 405,
  21000: 500,
  53400: 500,
  '57P01': 503,
  P0001: 400,
  42883: 404,
  '42P01': 404,
  '42P17': 500,
}
const BY_CLASS: Record<string, number> = {
  '08': 503,
  '09': 500,
  '0L': 403,
  '0P': 403,
  25: 500,
  28: 403,
  '2D': 500,
  38: 500,
  39: 500,
  '3B': 500,
  40: 500,
  53: 503,
  54: 500,
  55: 500,
  57: 500,
  58: 500,
  F0: 500,
  HV: 500,
  P0: 500,
  XX: 500,
}

function statusOf(code: string, message: string, authenticated: boolean): number {
  const raised = /^PT(\d{3})$/.exec(code)
  if (raised !== null) {
    const status = Number(raised[1])
    return status >= 200 && status <= 599 ? status : 500
  }
  if (code === '42501') return authenticated ? 403 : 401
  if (code === '21000' && message.endsWith('requires a WHERE clause')) return 400
  if (code === '22023' && /^role .* does not exist$/.test(message)) return 401
  return EXACT[code] ?? BY_CLASS[code.slice(0, 2)] ?? 400
}

/** `raise sqlstate 'PGRST'` carries the whole response as JSON in its message and detail. */
function raisedResponse(error: pg.DatabaseError): ErrorResponse {
  try {
    const body = JSON.parse(error.message) as {
      code: string
      message: string
      details?: string
      hint?: string
    }
    const detail = JSON.parse(error.detail ?? '') as { status: number; headers?: Record<string, string> }
    return {
      status: detail.status,
      headers: detail.headers ?? {},
      body: {
        code: body.code,
        message: body.message,
        details: body.details ?? null,
        hint: body.hint ?? null,
      },
    }
  } catch {
    const message = 'Could not parse JSON in the "RAISE SQLSTATE \'PGRST\'" error'
    return { status: 500, headers: {}, body: { code: 'PGRST121', details: null, hint: null, message } }
  }
}
