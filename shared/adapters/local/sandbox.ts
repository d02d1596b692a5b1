import { AppError } from '../../core/errors.ts'
import type { JobState, Sandbox } from '../../ports/sandbox.ts'

/** The jobs daemon of the local stack (dev/jobs) over HTTP. */
export function createLocalSandbox(options: {
  /** Base URL of the daemon. */
  url: string
  token: string
  /** Of one call. Default 10,000; removing waits for the job's processes to end. */
  timeoutMs?: number
}): Sandbox {
  const base = options.url.replace(/\/+$/, '')

  async function call(method: string, path: string, body?: unknown): Promise<Response> {
    let response: Response
    try {
      response = await fetch(`${base}${path}`, {
        method,
        headers: { authorization: `Bearer ${options.token}`, 'content-type': 'application/json' },
        redirect: 'error',
        signal: AbortSignal.timeout(options.timeoutMs ?? 10_000),
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
    } catch (cause) {
      throw new AppError('unavailable', 'The tool service does not answer.', { retryAfterSeconds: 2, cause })
    }
    if (response.status < 500 && response.status !== 429) return response
    await response.body?.cancel()
    const after = Number(response.headers.get('retry-after')) || 2
    throw new AppError('unavailable', `The tool service answered ${response.status}.`, {
      retryAfterSeconds: after,
    })
  }

  return {
    async create(job) {
      const response = await call('POST', '/jobs', job)
      if (response.status !== 201 && response.status !== 200) return await unexpected(response, 'create')
      await response.body?.cancel()
      return response.status === 201 ? 'created' : 'exists'
    },

    async inspect(name) {
      const response = await call('GET', `/jobs/${encodeURIComponent(name)}`)
      if (response.status !== 200 && response.status !== 404) return await unexpected(response, 'inspect')
      const state: unknown = await response.json().catch(() => undefined)
      // A 404 of something else than the daemon (a wrong URL) must not read as "there is no such job".
      if (!isJobState(state))
        throw new AppError('unavailable', 'The tool service gave an answer that is none of its own.')
      return state
    },

    async remove(name) {
      const response = await call('DELETE', `/jobs/${encodeURIComponent(name)}`)
      if (response.status !== 204) return await unexpected(response, 'remove')
    },
  }
}

/** A wrong token or a spec that the daemon refuses: a fault of this program or its settings, trying again does not help. */
async function unexpected(response: Response, verb: string): Promise<never> {
  const text = (await response.text().catch(() => '')).slice(0, 300)
  throw new Error(`the jobs daemon answered ${response.status} to ${verb}: ${text}`)
}

function isJobState(value: unknown): value is JobState {
  if (typeof value !== 'object' || value === null || !('state' in value)) return false
  if (value.state === 'missing' || value.state === 'pending' || value.state === 'running') return true
  return (
    (value.state === 'succeeded' || value.state === 'failed') &&
    'reason' in value &&
    typeof value.reason === 'string'
  )
}
