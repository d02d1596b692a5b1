import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createClient } from '@supabase/supabase-js'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { executeApp } from '../functions/execute/routes.ts'
import { Connections } from '../functions/logs/connections.ts'
import { logsApp } from '../functions/logs/routes.ts'
import { statusApp } from '../functions/status/routes.ts'
import { targetOf } from '../functions/target-of.ts'
import { ALICE, testIdentity, testPorts, twoPhases } from '../functions/test-kit.ts'
import { testConfig } from '../shared/config/test-config.ts'
import { AppError } from '../shared/core/errors.ts'
import { serve } from '../shared/http/serve.ts'
import type { Identity } from '../shared/ports/identity.ts'
import { startCuttingProxy } from '../test/client/cutting-proxy.ts'
import { type AgentClientOptions, AgentError, type AgentEvent, createAgentClient } from './agent-client.ts'

const closing: (() => Promise<unknown>)[] = []
afterEach(async () => {
  vi.useRealTimers()
  await Promise.all(closing.splice(0).map((close) => close()))
})

/** The three services that users call, on one port, with their state in memory. */
async function front({
  env = {},
  identity = testIdentity(),
}: {
  env?: Record<string, string>
  identity?: Identity
} = {}) {
  const connections = new Connections({ most: 2000, mostOfUser: 50 })
  const ports = { ...testPorts({ identity }), connections }
  const services = {
    execute: executeApp(testConfig('execute', env), ports),
    status: statusApp(testConfig('status', env), ports),
    logs: logsApp(testConfig('logs', env), ports),
  }
  const running = await serve(
    {
      fetch(request, bindings) {
        const target = targetOf(new URL(request.url).pathname)
        if (target === null || target === 'step') return new Response(null, { status: 404 })
        return services[target].fetch(request, bindings)
      },
    },
    {
      port: 0,
      host: '127.0.0.1',
      shutdownSeconds: 2,
      log: undefined,
      onDrain: () => connections.drain(),
      onClosed: async () => {},
    },
  )
  closing.push(() => running.close())
  return { ports, store: ports.store, port: running.port, url: `http://127.0.0.1:${running.port}` }
}
type Front = Awaited<ReturnType<typeof front>>

const clientOf = (url: string, options: Partial<AgentClientOptions> = {}) =>
  createAgentClient({ url, getToken: () => 'alice', retryDelayMs: 5, ...options })

/** A server that answers as it is told, to say what no service of ours would. */
async function fake(handler: Parameters<typeof createServer>[1]): Promise<{ url: string; server: Server }> {
  const server = createServer(handler)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closing.push(
    () =>
      new Promise((resolve) => {
        server.close(resolve)
        server.closeAllConnections()
      }),
  )
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server }
}

const headersOf = (init: RequestInit | undefined) => (init?.headers ?? {}) as Record<string, string>

async function faultOf(promise: Promise<unknown>): Promise<AgentError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (!(error instanceof AgentError)) throw new Error(`not an AgentError: ${String(error)}`)
  return error
}

/** A run with a bit of everything, up to its end or not. */
function tell({ store }: Front, runId: string, end?: 'completed' | 'failed'): void {
  const kept = store.runs.get(runId)
  if (kept === undefined) throw new Error('no such run')
  store.addStatus(runId, 'planning')
  kept.run.plan = twoPhases()
  store.addLog(runId, 'info', 'Plan', { event: 'plan', data: { total_phases: 2 } })
  store.addStatus(runId, 'executing')
  for (let n = 0; n < 8; n += 1) {
    const step = store.addStep(runId, {})
    store.changeStep(step, { status: 'running' })
    store.changeStep(step, {
      status: 'completed',
      tool_output: { stdout: `über ${n} 😀\n`.repeat(20), stderr: 'e', exit_code: 0 },
      duration_ms: 5,
    })
    store.addLog(runId, 'warning', 'Nothing to see', { event: 'warning' })
    store.addMessage(runId, 'assistant', `Step ${n} is done.`, 'thinking')
  }
  store.addArtifact(runId, {})
  if (end === 'completed') store.end(runId, end, { result: 'The answer is 42.' })
  if (end === 'failed') store.end(runId, end, { error_message: 'No luck', error_code: 'STEP_LIMIT' })
}

async function take(stream: AsyncIterable<AgentEvent>): Promise<AgentEvent[]> {
  return Array.fromAsync(stream)
}

describe('verbs', () => {
  it('create, start, pause, resume, stop, retry, status', async () => {
    const env = await front()
    const agents = clientOf(`${env.url}/`)
    const { run_id, status } = await agents.create('Hello', {
      auto_start: false,
      mode: 'research',
      tags: ['t'],
    })
    expect(status).toBe('created')
    expect(env.store.runs.get(run_id)?.run).toMatchObject({ prompt: 'Hello', mode: 'research', tags: ['t'] })
    expect(await agents.start(run_id)).toMatchObject({ run_id, status: 'queued' })
    expect(await agents.pause(run_id)).toMatchObject({ status: 'paused' })
    expect(await agents.resume(run_id, 'go')).toMatchObject({ status: 'executing' })
    expect(env.store.runs.get(run_id)?.messages.at(-1)).toMatchObject({ content: 'go' })
    expect(await agents.stop(run_id)).toMatchObject({ status: 'cancelled' })
    const again = await agents.retry(run_id)
    expect(again.run_id).not.toBe(run_id)
    const answer = await agents.status(again.run_id, { include_logs: false, steps_limit: 1 })
    expect(answer).toMatchObject({ run: { id: again.run_id }, steps: [], messages: [] })
    expect(answer.logs).toBeUndefined()
  })

  it('sends what the service reads', async () => {
    const sent: unknown[] = []
    const agents = clientOf('https://x', {
      headers: { traceparent: 't' },
      fetch: async (url, init) => {
        const { 'idempotency-key': key, ...headers } = headersOf(init)
        sent.push([String(url), init?.method ?? 'GET', JSON.parse(String(init?.body ?? 'null')), typeof key])
        expect(headers).toMatchObject({ authorization: 'Bearer alice', traceparent: 't' })
        return Response.json({})
      },
    })
    await agents.fork('r', 3, { message: 'Do it again' })
    await agents.retryStep('r', 4)
    await agents.approve('r', 'a')
    await agents.deny('r', 'b', { message: 'no' })
    await agents.delete('r')
    await agents.bulk('stop', 'nightly')
    await agents.listRuns({ status: 'failed', limit: 2, before: 'c+/=' })
    await agents.logs('r', { since: '2026-01-01T00:00:00+02:00', limit: 5 })
    const EXECUTE = 'https://x/agent/execute'
    expect(sent).toEqual([
      [EXECUTE, 'POST', { action: 'fork', run_id: 'r', from_step: 3, message: 'Do it again' }, 'string'],
      [EXECUTE, 'POST', { action: 'retry', run_id: 'r', step_number: 4 }, 'string'],
      [EXECUTE, 'POST', { action: 'approve', run_id: 'r', approval_id: 'a' }, 'undefined'],
      [EXECUTE, 'POST', { action: 'deny', run_id: 'r', approval_id: 'b', message: 'no' }, 'undefined'],
      [EXECUTE, 'POST', { action: 'delete', run_id: 'r' }, 'undefined'],
      [EXECUTE, 'POST', { action: 'stop', tag: 'nightly' }, 'undefined'],
      ['https://x/agent/runs?status=failed&limit=2&before=c%2B%2F%3D', 'GET', null, 'undefined'],
      [
        'https://x/agent/logs?run_id=r&since=2026-01-01T00%3A00%3A00%2B02%3A00&limit=5',
        'GET',
        null,
        'undefined',
      ],
    ])
  })

  it('lists all runs over pages, none twice', async () => {
    const env = await front()
    const agents = clientOf(env.url)
    const made = new Set<string>()
    for (let n = 0; n < 7; n += 1) made.add((await agents.create(`run ${n}`)).run_id)
    const listed = await Array.fromAsync(agents.runs({ limit: 3 }))
    expect(listed).toHaveLength(7)
    expect(new Set(listed.map(({ id }) => id))).toEqual(made)
    expect((await agents.listRuns({ limit: 3 })).has_more).toBe(true)
  })

  it('refuses a configuration that cannot work', () => {
    for (const options of [
      { url: '', getToken: () => 't' },
      { url: 'agents.example.com', getToken: () => 't' },
      { url: 'https://x' },
    ])
      expect(() => createAgentClient(options)).toThrow(expect.objectContaining({ code: 'not_configured' }))
  })
})

describe('errors', () => {
  it('are typed, with the code, the status and the request id of the service', async () => {
    const env = await front({ env: { MAX_BODY_BYTES: '2048' } })
    const agents = clientOf(env.url)
    const ghost = '0f0f0f0f-0000-4000-8000-000000000000'
    env.store.credits.set(ALICE, 0)
    const poor = await faultOf(agents.create('x'))
    env.store.credits.delete(ALICE)
    await agents.create('x', { idempotencyKey: 'k' })
    const faults = [
      poor,
      await faultOf(agents.create(' ')),
      await faultOf(clientOf(env.url, { getToken: () => 'mallory' }).create('x')),
      await faultOf(agents.status(ghost)),
      await faultOf(agents.create('y', { idempotencyKey: 'k' })),
      await faultOf(agents.create('x'.repeat(3000))),
      await faultOf(take(agents.stream(ghost))),
    ]
    expect(faults.map(({ status, code, message }) => [status, code, message])).toEqual([
      [402, 'insufficient_credits', 'Insufficient credits'],
      [400, 'prompt_required', 'Prompt is required'],
      [401, 'unauthorized', 'Unauthorized'],
      [404, 'run_not_found', 'Run not found'],
      [409, 'idempotency_conflict', expect.any(String)],
      [413, 'body_too_large', expect.any(String)],
      [404, 'run_not_found', 'Run not found'],
    ])
    for (const { requestId, retryAfter } of faults) {
      expect(requestId).toMatch(/\S{8,}/)
      expect(retryAfter).toBeNull()
    }
  })

  it('429 is not repeated and says when; a page that is not ours has a code too', async () => {
    const asked: string[] = []
    const { url } = await fake((req, res) => {
      asked.push(req.url ?? '')
      req.resume()
      if (req.url?.startsWith('/agent/execute')) {
        res.writeHead(429, { 'retry-after': '7', 'x-request-id': 'r-1', 'content-type': 'application/json' })
        res.end('{"error":"Too many requests: 10 a minute","code":"rate_limited"}')
      } else if (req.url === '/agent/status') res.writeHead(404).end('<html>nginx</html>')
      else res.writeHead(200, { 'content-type': 'text/html' }).end('<html>')
    })
    const agents = clientOf(url)
    expect(await faultOf(agents.create('x'))).toMatchObject({
      code: 'rate_limited',
      status: 429,
      retryAfter: 7,
      requestId: 'r-1',
      message: 'Too many requests: 10 a minute',
    })
    expect(await faultOf(agents.status('r'))).toMatchObject({
      code: 'not_found',
      status: 404,
      requestId: null,
    })
    expect(await faultOf(agents.listRuns())).toMatchObject({ code: 'invalid_response', status: 200 })
    expect(asked).toHaveLength(3)
  })
})

describe('repeats', () => {
  it('a create whose answers are lost is one run: the key stays the same', async () => {
    const env = await front()
    const keys: string[] = []
    const agents = clientOf(env.url, {
      fetch: async (url, init) => {
        keys.push(headersOf(init)['idempotency-key'] ?? '')
        const answer = await fetch(url, init)
        if (keys.length < 3) throw new TypeError('fetch failed') // it arrived, and we were not told
        return answer
      },
    })
    const { run_id } = await agents.create('Once')
    expect([...env.store.runs.keys()]).toEqual([run_id])
    expect(keys).toHaveLength(3)
    expect(new Set(keys).size).toBe(1)
    await agents.create('Once')
    expect(new Set(keys).size).toBe(2)
  })

  it('waits as long as Retry-After says, gives up in the end, and does not repeat what is not safe', async () => {
    const times: number[] = []
    let retryAfter = '1'
    const { url } = await fake((req, res) => {
      req.resume()
      times.push(performance.now())
      if (times.length === 2) res.writeHead(200).end('{"success":true}')
      else res.writeHead(503, { 'retry-after': retryAfter }).end('{"error":"Away","code":"unavailable"}')
    })
    const agents = clientOf(url)
    await agents.create('x')
    expect((times[1] ?? 0) - (times[0] ?? 0)).toBeGreaterThanOrEqual(990)
    retryAfter = '0'
    times.length = 2
    expect(await faultOf(agents.start('r'))).toMatchObject({ code: 'unavailable', status: 503 })
    expect(times).toHaveLength(2 + 4)
    for (const call of [
      agents.stop('r'),
      agents.pause('r'),
      agents.resume('r'),
      agents.delete('r'),
      agents.bulk('retry', 't'),
    ])
      expect(await faultOf(call)).toMatchObject({ status: 503 })
    expect(times).toHaveLength(6 + 5)
    retryAfter = '3600'
    expect(await faultOf(agents.status('r'))).toMatchObject({ status: 503, retryAfter: 3600 })
    expect(times).toHaveLength(12)
  })

  it('an answer that does not come, or stops in the middle, is a timeout', async () => {
    const { url } = await fake((req, res) => {
      req.resume()
      if (req.url === '/agent/status') res.writeHead(200, { 'content-length': '100' }).write('{')
    })
    const agents = clientOf(url, { maxRetries: 1, timeoutMs: 60 })
    expect(await faultOf(agents.create('x'))).toMatchObject({ code: 'timeout', status: 0, requestId: null })
    expect(await faultOf(agents.status('r'))).toMatchObject({ code: 'timeout' })
    expect(await faultOf(agents.stop('r', { timeoutMs: 30 }))).toMatchObject({ code: 'timeout' })
    const stuck = clientOf(url, { getToken: () => new Promise(() => {}), maxRetries: 0, timeoutMs: 60 })
    expect(await faultOf(stuck.status('r'))).toMatchObject({ code: 'timeout' })
    expect(await faultOf(clientOf('http://127.0.0.1:1', { maxRetries: 1 }).status('r'))).toMatchObject({
      code: 'network_error',
      message: expect.stringContaining('http://127.0.0.1:1'),
    })
  })
})

describe('the session', () => {
  it('is refreshed once after a 401, for all calls that met it', async () => {
    const env = await front()
    const refreshed: boolean[] = []
    let token = 'stale'
    const agents = clientOf(env.url, {
      async getToken({ refresh }) {
        refreshed.push(refresh)
        if (refresh) {
          await new Promise((resolve) => setTimeout(resolve, 50))
          token = 'alice'
        }
        return token
      },
    })
    const made = await Promise.all([agents.create('1'), agents.create('2'), agents.listRuns()])
    expect(made[0].success).toBe(true)
    expect(refreshed.filter(Boolean)).toHaveLength(1)
  })

  it('a token that stays refused, or is not there, is an error after one refresh', async () => {
    const env = await front()
    let calls = 0
    const counted: typeof fetch = (...request) => {
      calls += 1
      return fetch(...request)
    }
    expect(
      await faultOf(clientOf(env.url, { getToken: () => 'bad', fetch: counted }).listRuns()),
    ).toMatchObject({ status: 401 })
    expect(calls).toBe(1) // the same token again would be refused again
    let n = 0
    const getToken = () => {
      n += 1
      return `bad${n}`
    }
    const changing = clientOf(env.url, { getToken, fetch: counted })
    expect(await faultOf(changing.listRuns())).toMatchObject({ status: 401, code: 'unauthorized' })
    expect(calls).toBe(3)
    for (const nothing of [null, undefined, ''])
      expect(await faultOf(clientOf(env.url, { getToken: () => nothing }).listRuns())).toMatchObject({
        status: 401,
        code: 'unauthorized',
        message: expect.stringContaining('sign the user in'),
      })
    const offline = clientOf(env.url, { getToken: () => Promise.reject(new Error('offline')), maxRetries: 1 })
    expect(await faultOf(offline.listRuns())).toMatchObject({ code: 'network_error' })
  })

  it('comes from an unmodified supabase-js client', async () => {
    const env = await front()
    const supabase = createClient('http://127.0.0.1:1', 'key', {
      auth: { persistSession: false, autoRefreshToken: false },
    })
    const session = vi.spyOn(supabase.auth, 'getSession')
    const refresh = vi.spyOn(supabase.auth, 'refreshSession')
    const agents = createAgentClient({ url: env.url, supabase, retryDelayMs: 5, maxRetries: 1 })
    expect(await faultOf(agents.listRuns())).toMatchObject({ status: 401, code: 'unauthorized' })
    type Answer = Awaited<ReturnType<typeof supabase.auth.refreshSession>>
    const holding = (access_token: string) =>
      ({ data: { session: { access_token } }, error: null }) as unknown as Answer
    session.mockImplementation(
      async () => holding('stale') as Awaited<ReturnType<typeof supabase.auth.getSession>>,
    )
    refresh.mockImplementation(async () => holding('alice'))
    expect((await agents.create('x')).success).toBe(true)
    expect(refresh).toHaveBeenCalledTimes(1)
    // Offline: supabase-js keeps the session and says so.
    const away = Object.assign(new Error('Failed to fetch'), { name: 'AuthRetryableFetchError' })
    refresh.mockImplementation(
      async () => ({ data: { session: null, user: null }, error: away }) as unknown as Answer,
    )
    expect(await faultOf(agents.listRuns())).toMatchObject({ code: 'network_error' })
  })
})

describe('streams', () => {
  it('every stored event once and in order, over connections that are cut anywhere', async () => {
    const env = await front()
    const { run_id } = await clientOf(env.url).create('x')
    tell(env, run_id, 'completed')
    const whole = await take(clientOf(env.url).stream(run_id))
    expect(whole.at(-1)).toEqual({
      type: 'complete',
      status: 'completed',
      message: 'Run completed',
      result: 'The answer is 42.',
    })
    expect(whole.length).toBeGreaterThan(60)
    expect(whole.some(({ type }) => (type as string) === 'heartbeat')).toBe(false)
    let cuts = 0
    for (let round = 0; round < 6; round += 1) {
      // A row of the longest kind always fits, or nothing would ever get through.
      const proxy = await startCuttingProxy(env.port, () => 1 + Math.floor(Math.random() * 12_000))
      closing.push(() => proxy.close())
      const stream = clientOf(proxy.url, { retryDelayMs: 1, maxRetries: 50 }).stream(run_id)
      expect(await take(stream)).toEqual(whole)
      cuts += proxy.cuts()
    }
    expect(cuts).toBeGreaterThan(20)
  })

  it('goes on after lastEventId, also in another client, and ends at once after the end', async () => {
    const env = await front()
    const { run_id } = await clientOf(env.url).create('x')
    tell(env, run_id, 'failed')
    const whole = await take(clientOf(env.url).stream(run_id))
    expect(whole.at(-1)).toEqual({ type: 'error', message: 'No luck', code: 'STEP_LIMIT', status: 'failed' })
    const first = clientOf(env.url).stream(run_id)
    const seen: AgentEvent[] = []
    for await (const event of first) if (seen.push(event) === 10) break
    const second = clientOf(env.url).stream(run_id, { lastEventId: first.lastEventId })
    expect([...seen, ...(await take(second))]).toEqual(whole)
    expect(await take(clientOf(env.url).stream(run_id, { lastEventId: second.lastEventId }))).toEqual([])
  })

  it('a token that ends in the middle is replaced, and nobody notices', async () => {
    const expiring: Identity = {
      async verify(accessToken) {
        const expiresAt = Number(/^alice\.(\d+)$/.exec(accessToken)?.[1] ?? 0)
        if (expiresAt < Date.now()) throw new AppError('unauthorized', 'Unauthorized')
        return { ...(await testIdentity().verify('alice')), expiresAt: expiresAt / 1000 }
      },
    }
    const env = await front({ identity: expiring })
    let token = ''
    const given = new Set<string>()
    const agents = clientOf(env.url, {
      getToken({ refresh }) {
        // Like a session whose clock is behind: it believes in the token until the service refuses it.
        if (refresh || token === '') token = `alice.${Date.now() + 400}`
        given.add(token)
        return token
      },
    })
    const { run_id } = await agents.create('x')
    const seen: AgentEvent[] = []
    const reading = (async () => {
      for await (const event of agents.stream(run_id)) seen.push(event)
    })()
    await vi.waitFor(() => expect(given.size).toBeGreaterThan(2), { timeout: 20_000 })
    tell(env, run_id, 'completed')
    await reading
    const steady = createAgentClient({ url: env.url, getToken: () => `alice.${Date.now() + 60_000}` })
    expect(seen).toEqual(await take(steady.stream(run_id)))
    expect(seen.some(({ type }) => (type as string) === 'expired')).toBe(false)
  })

  it('a service that drains or limits a stream is found again', async () => {
    const env = await front({ env: { STREAM_MAX_SECONDS: '1' } })
    let connections = 0
    const agents = clientOf(env.url, {
      fetch: (...request) => {
        if (String(request[0]).includes('/stream?')) connections += 1
        return fetch(...request)
      },
    })
    const { run_id } = await agents.create('x')
    const reading = take(agents.stream(run_id))
    await vi.waitFor(() => expect(connections).toBeGreaterThan(2), { timeout: 20_000 })
    tell(env, run_id, 'completed')
    const seen = await reading
    expect(seen).toEqual(await take(agents.stream(run_id)))
  })

  it('while a run waits nothing is open; a verb of this client brings the stream back at once', async () => {
    const env = await front({ env: { IDLE_END_SECONDS: '1' } })
    let open = 0
    const agents = clientOf(env.url, {
      fetch: async (url, init) => {
        const answer = await fetch(url, init)
        if (!String(url).includes('/stream?')) return answer
        open += 1
        const body = answer.body?.pipeThrough(
          new TransformStream<Uint8Array, Uint8Array>({
            flush() {
              open -= 1
            },
          }),
        )
        return new Response(body ?? null, answer)
      },
    })
    const { run_id } = await agents.create('x')
    env.store.addStatus(run_id, 'planning')
    env.store.addStatus(run_id, 'waiting_user')
    const seen: AgentEvent[] = []
    const reading = (async () => {
      for await (const event of agents.stream(run_id)) seen.push(event)
    })()
    await vi.waitFor(() => expect(open).toBe(1), { timeout: 10_000 })
    await vi.waitFor(() => expect(open).toBe(0), { timeout: 20_000, interval: 20 })
    await agents.resume(run_id, 'yes')
    await vi.waitFor(() => expect(open).toBe(1), { timeout: 10_000 }) // not after the 60 s that the service named
    env.store.end(run_id, 'completed', {})
    await reading
    expect(seen.at(-1)).toMatchObject({ type: 'complete' })
    expect(seen).toEqual(await take(agents.stream(run_id)))
  }, 60_000)

  it('is aborted by its signal wherever it is, and by leaving the loop', async () => {
    const env = await front()
    const agents = clientOf(env.url)
    const { run_id } = await agents.create('x')
    const reason = new Error('the page was left')
    for (const when of ['before', 'while reading', 'while pausing'] as const) {
      const controller = new AbortController()
      if (when === 'before') controller.abort(reason)
      const client =
        when === 'while pausing' ? clientOf('http://127.0.0.1:1', { retryDelayMs: 60_000 }) : agents
      const reading = take(client.stream(run_id, { signal: controller.signal }))
      reading.catch(() => {})
      await new Promise((resolve) => setTimeout(resolve, 100))
      controller.abort(reason)
      await expect(reading).rejects.toBe(reason)
    }
    for await (const event of agents.stream(run_id)) if (event.type === 'status') break
    // Every connection of the service is gone: nothing is left to drain.
    await vi.waitFor(() =>
      expect(env.ports.log.lines.filter(({ text }) => text === 'stream ended')).toHaveLength(2),
    )
    await expect(agents.status(run_id, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
  })

  it('a connection that falls silent is replaced', async () => {
    let connections = 0
    const agents = clientOf('https://x', {
      fetch: async (_url, init) => {
        connections += 1
        const end = 'id: 2\ndata: {"type":"complete","status":"completed","message":"m","result":null}\n\n'
        const last = connections > 1
        return new Response(
          new ReadableStream({
            start(controller) {
              controller.enqueue(new TextEncoder().encode(last ? end : ': connected\n\n'))
              init?.signal?.addEventListener('abort', () => controller.error(init.signal?.reason))
            },
          }),
        )
      },
    })
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const reading = take(agents.stream('r'))
    await vi.advanceTimersByTimeAsync(44_000)
    expect(connections).toBe(1)
    await vi.advanceTimersByTimeAsync(3_000)
    expect(await reading).toHaveLength(1)
    expect(connections).toBe(2)
  })

  it('keeps to itself what only keeps it going: heartbeats, expiry, interruption', async () => {
    const asked: (string | undefined)[] = []
    const end = 'id: 2\ndata: {"type":"complete","status":"completed","message":"m","result":null}\n\n'
    const agents = clientOf('https://x', {
      fetch: async (_url, init) => {
        asked.push(headersOf(init)['last-event-id'])
        if (asked.length > 3) return new Response(end)
        const last = asked.length === 1 ? 'interrupted' : 'expired'
        return new Response(`id: ${asked.length}\ndata: {"type":"heartbeat"}\n\ndata: {"type":"${last}"}\n\n`)
      },
    })
    expect(await take(agents.stream('r'))).toEqual([
      { type: 'complete', status: 'completed', message: 'm', result: null },
    ])
    expect(asked).toEqual([undefined, '1', '2', '3'])
  })

  it('gives up a service that was never there soon, and a stream that brings nothing in the end', async () => {
    let answers = 0
    const { url } = await fake((_req, res) => {
      answers += 1
      res.writeHead(200, { 'content-type': 'text/event-stream' }).end(': connected\n\n')
    })
    expect(await faultOf(take(clientOf('http://127.0.0.1:1').stream('r')))).toMatchObject({
      code: 'network_error',
    })
    expect(await faultOf(take(clientOf(url, { retryDelayMs: 0 }).stream('r')))).toMatchObject({
      code: 'unavailable',
    })
    expect(answers).toBe(21)
  })

  it('says so when the run is deleted under it', async () => {
    const env = await front()
    const agents = clientOf(env.url)
    const { run_id } = await agents.create('x')
    const reading = take(agents.stream(run_id))
    reading.catch(() => {})
    await vi.waitFor(() => expect(env.store.calls).toContain('readEvents'))
    env.store.runs.delete(run_id)
    expect(await faultOf(reading)).toMatchObject({ code: 'run_not_found', status: 404 })
  })

  it('a ticket opens the stream for a reader without headers', async () => {
    const env = await front()
    const agents = clientOf(env.url)
    const { run_id } = await agents.create('x')
    tell(env, run_id, 'completed')
    const address = await agents.eventSourceUrl(run_id)
    expect(address).not.toContain('alice')
    expect(await (await fetch(address)).text()).toContain('event: complete')
  })
})

describe('polling', () => {
  it('gives every log row once while the run goes on, and ends with it', async () => {
    const env = await front()
    const agents = clientOf(env.url)
    const { run_id } = await agents.create('x')
    tell(env, run_id)
    const seqs: number[] = []
    for await (const { seq } of agents.pollLogs(run_id, { limit: 4, intervalMs: 5 })) {
      seqs.push(seq)
      if (seqs.length === 30) setTimeout(() => env.store.end(run_id, 'completed', {}), 50)
    }
    const logs = env.store.runs.get(run_id)?.logs ?? []
    expect(logs.length).toBeGreaterThan(30)
    expect(seqs).toEqual(logs.map(({ seq }) => seq))
  })
})
