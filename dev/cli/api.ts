import { setTimeout as sleep } from 'node:timers/promises'

export interface Api {
  origin: string
  /** A fresh access token of the user; asked for before every request. */
  token: () => Promise<string>
  signal: AbortSignal
}

/** The API refused for good; the message is its own. */
export class ApiError extends Error {
  readonly status: number
  constructor(status: number, message: string) {
    super(message)
    this.name = 'ApiError'
    this.status = status
  }
}

/** Answers that mean "not now": the function was killed, is starting, or its database is away. */
const PASSING = new Set([408, 429, 500, 502, 503, 504])
const MAX_PAUSE_MS = 5_000
/** The gateway's word for a function that cannot start; a wrong setting does not mend itself. */
const CANNOT_START = /keeps failing to start/
const MAX_CANNOT_START = 3

/**
 * POSTs JSON until there is an answer, as long as it takes: a function may be killed under the request. Safe for create only with an
 * Idempotency-Key among `headers`. Rejects with ApiError for a refusal or a function that cannot start, or when `signal` aborts.
 */
export async function post<T>(
  api: Api,
  path: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<T> {
  let cannotStart = 0
  for (let attempt = 0; ; attempt++) {
    api.signal.throwIfAborted()
    const answer = await tryPost(api, path, body, headers)
    if (answer?.ok) return (await answer.json()) as T
    if (answer) {
      const reason = await reasonOf(answer).catch(() => '')
      if (CANNOT_START.test(reason)) cannotStart++
      if (!PASSING.has(answer.status) || cannotStart >= MAX_CANNOT_START)
        throw new ApiError(answer.status, reason)
    }
    const asked = Number(answer?.headers.get('retry-after') ?? 0) * 1000
    await sleep(Math.min(Math.max(asked, 100 * 2 ** Math.min(attempt, 6)), MAX_PAUSE_MS), undefined, {
      signal: api.signal,
    })
  }
}

async function tryPost(
  api: Api,
  path: string,
  body: unknown,
  headers: Record<string, string>,
): Promise<Response | undefined> {
  try {
    return await fetch(`${api.origin}${path}`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        authorization: `Bearer ${await api.token()}`,
        ...headers,
      },
      body: JSON.stringify(body),
      signal: AbortSignal.any([api.signal, AbortSignal.timeout(60_000)]),
    })
  } catch {
    return undefined
  }
}

async function reasonOf(answer: Response): Promise<string> {
  const text = await answer.text()
  try {
    const { error } = JSON.parse(text) as { error?: unknown }
    if (typeof error === 'string') return error
  } catch {
    // not JSON: the text itself
  }
  return text.slice(0, 300) || `The API answered ${answer.status}`
}
