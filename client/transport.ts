import { AgentError } from './agent-error.ts'
import { errorFrom } from './error-from.ts'
import { createGuard, type Guard } from './guard.ts'
import { backOff, pause, type Sleepers } from './pause.ts'
import type { Tokens } from './tokens.ts'

export interface CallOptions {
  signal?: AbortSignal | undefined
  /** Longest wait for one answer, over that of the client. */
  timeoutMs?: number | undefined
}

export interface Call extends CallOptions {
  /** Makes it a POST. */
  body?: object
  headers?: Record<string, string>
  /** A token that the service ended a stream for. */
  refused?: string | undefined
}

export interface TransportOptions {
  url: string
  tokens: Tokens
  headers: Readonly<Record<string, string>>
  fetch: typeof fetch
  timeoutMs: number
  maxRetries: number
  retryDelayMs: number
}

export interface Transport extends TransportOptions {
  sleepers: Sleepers
  /** One request with a valid token: the answer when it is 2xx. @throws AgentError, or the signal's reason */
  open(path: string, call: Call, guard: Guard): Promise<{ answer: Response; token: string }>
  /** The JSON of an answer; `again`: the call may be repeated when it is not known whether it arrived. */
  json<T>(path: string, call: Call, again: boolean): Promise<T>
}

/** Longer than this nobody waits inside a call: the error says how long. */
const MAX_RETRY_AFTER_SECONDS = 30

export function createTransport(options: TransportOptions): Transport {
  const { url, tokens, timeoutMs, maxRetries, retryDelayMs } = options
  const sleepers: Sleepers = new Set()

  async function open(path: string, call: Call, guard: Guard): Promise<{ answer: Response; token: string }> {
    guard.arm(call.timeoutMs ?? timeoutMs)
    try {
      const token = await within(guard.signal, tokens(call.refused))
      const answer = await send(path, call, token, guard.signal)
      if (answer.status !== 401) return { answer: await accepted(answer), token }
      // The clocks differ, or the key was changed: once more with a new token.
      const renewed = await within(guard.signal, tokens(token))
      if (renewed !== token) void answer.body?.cancel()
      return {
        answer: await accepted(renewed === token ? answer : await send(path, call, renewed, guard.signal)),
        token: renewed,
      }
    } catch (error) {
      throw faultOf(error, url, guard, call.signal)
    } finally {
      guard.disarm()
    }
  }

  function send(
    path: string,
    { body, headers }: Call,
    token: string,
    signal: AbortSignal,
  ): Promise<Response> {
    return options.fetch(url + path, {
      signal,
      headers: {
        ...options.headers,
        ...headers,
        ...(body && { 'content-type': 'application/json' }),
        authorization: `Bearer ${token}`,
      },
      ...(body && { method: 'POST', body: JSON.stringify(body) }),
    })
  }

  async function once<T>(path: string, call: Call): Promise<T> {
    const guard = createGuard(call.signal)
    try {
      const { answer } = await open(path, call, guard)
      guard.arm(call.timeoutMs ?? timeoutMs)
      const text = await answer.text()
      try {
        return JSON.parse(text) as T
      } catch (cause) {
        throw new AgentError('invalid_response', `${url} does not answer as the agent service does`, {
          status: answer.status,
          cause,
        })
      }
    } catch (error) {
      throw faultOf(error, url, guard, call.signal)
    } finally {
      guard.end()
    }
  }

  return {
    ...options,
    sleepers,
    open,
    async json<T>(path: string, call: Call, again: boolean): Promise<T> {
      for (let attempt = 0; ; attempt++) {
        try {
          return await once<T>(path, call)
        } catch (error) {
          if (!again || attempt >= maxRetries || !isPassing(error)) throw error
          if ((error.retryAfter ?? 0) > MAX_RETRY_AFTER_SECONDS) throw error
          await pause(backOff(retryDelayMs, attempt, error.retryAfter), call.signal, sleepers)
        }
      }
    },
  }
}

/** No answer, or one that says "not now". */
export function isPassing(error: unknown): error is AgentError {
  return (
    error instanceof AgentError &&
    (error.code === 'network_error' || error.code === 'timeout' || [502, 503, 504].includes(error.status))
  )
}

async function accepted(answer: Response): Promise<Response> {
  if (answer.ok) return answer
  throw await errorFrom(answer)
}

/** What is thrown: the caller's own abort as it is, everything else as an AgentError. */
export function faultOf(error: unknown, url: string, guard: Guard, outer: AbortSignal | undefined): unknown {
  if (outer?.aborted) return outer.reason
  if (error instanceof AgentError) return error
  if (guard.timedOut) return new AgentError('timeout', `No answer from ${url} in time`, { cause: error })
  return new AgentError(
    'network_error',
    `No answer from ${url}: the network, or (in a browser) a page whose origin the service does not allow`,
    { cause: error },
  )
}

/** A session that cannot be had must not hold a call longer than an answer may. */
function within<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    promise.then(resolve, reject)
  })
}
