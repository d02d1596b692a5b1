import type { Client } from '@upstash/qstash'

type Requester = Client['http']

/** Carries the status so that the adapter can tell "busy" from "refused". Never holds the body that was sent. */
export class QStashRequestError extends Error {
  readonly status: number
  readonly retryAfterSeconds: number | undefined
  constructor(status: number, retryAfterSeconds: number | undefined) {
    super(`the scheduler answered ${status}`)
    this.status = status
    this.retryAfterSeconds = retryAfterSeconds
  }
}

/**
 * Takes the place of the SDK's own HTTP client, which has no timeout, retries by itself for 11 s and prints every failure to the
 * console (2.12.0, not configurable). One attempt: the row that is published stays until it succeeds, so retrying is not ours.
 */
export function createRequester(options: { url: string; token: string; timeoutMs: number }): Requester {
  const base = options.url.replace(/\/+$/, '')
  return {
    async request(request) {
      const headers = new Headers(request.headers as HeadersInit)
      headers.set('Authorization', `Bearer ${options.token}`)
      const response = await fetch([base, ...request.path].join('/'), {
        method: request.method ?? 'POST',
        headers,
        body: request.body ?? null,
        // A redirect would carry the token, or lose the body.
        redirect: 'error',
        signal: AbortSignal.timeout(options.timeoutMs),
      })
      if (!response.ok) {
        await response.body?.cancel()
        throw new QStashRequestError(response.status, secondsOf(response.headers))
      }
      return await response.json()
    },
    requestStream() {
      throw new Error('streaming is not used')
    },
  }
}

function secondsOf(headers: Headers): number | undefined {
  const text = headers.get('retry-after') ?? headers.get('ratelimit-reset')
  const seconds = text === null || text === '' ? Number.NaN : Number(text)
  // Some limits tell the moment in unix seconds rather than a wait; such a number is no wait.
  return Number.isFinite(seconds) && seconds >= 0 && seconds <= 86_400 ? Math.ceil(seconds) : undefined
}
