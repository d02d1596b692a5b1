import { AgentError } from './agent-error.ts'
import type { AgentErrorCode } from './types.ts'

/** What a status means when the answer is not the service's: a proxy's page, a platform's word. */
const CODES: Readonly<Record<number, AgentErrorCode>> = {
  401: 'unauthorized',
  404: 'not_found',
  413: 'body_too_large',
  429: 'rate_limited',
  500: 'internal',
  502: 'unavailable',
  503: 'unavailable',
  504: 'unavailable',
}

/** The error that an answer other than 2xx is. */
export async function errorFrom(answer: Response): Promise<AgentError> {
  const { status, headers } = answer
  const text = await answer.text().catch(() => '')
  const body = record(text)
  return new AgentError(
    (string(body.code) as AgentErrorCode | undefined) ?? CODES[status] ?? 'invalid_response',
    string(body.error) ?? `The service answered ${status} ${text.slice(0, 200)}`.trim(),
    {
      status,
      requestId: headers.get('x-request-id') ?? string(body.request_id) ?? null,
      retryAfter: seconds(headers.get('retry-after')),
    },
  )
}

function record(text: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(text)) as Record<string, unknown>
  } catch {
    return {}
  }
}

function string(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

/** Retry-After is a number of seconds or a date. */
function seconds(header: string | null): number | null {
  if (header === null) return null
  const value = Number(header)
  const wait = Number.isNaN(value) ? (Date.parse(header) - Date.now()) / 1000 : value
  return Number.isNaN(wait) ? null : Math.max(0, wait)
}
