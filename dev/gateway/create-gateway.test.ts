import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { Agent, createServer, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterEach, expect, test, vi } from 'vitest'
import { createGateway, type Gateway, type GatewayOptions } from './create-gateway.ts'
import type { ScaleEvent } from './function-pool.ts'

const fixture = fileURLToPath(new URL('./fixtures/server.mjs', import.meta.url))
const cleanups: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function start(
  options: Partial<GatewayOptions> & { idleMs?: number; env?: Record<string, string> } = {},
): Promise<{
  base: string
  gateway: Gateway
  scale: ScaleEvent[]
  logged: string[]
  dir: string
  server: Server
}> {
  const { idleMs = 60_000, env = {}, ...rest } = options
  const dir = mkdtempSync(join(tmpdir(), 'gateway-'))
  const logged: string[] = []
  const gateway = createGateway({
    functions: [
      {
        name: 'one',
        command: process.execPath,
        args: [fixture],
        env,
        routes: ['/one', '/one/**', '/run/*/stream'],
        idleMs,
      },
      { name: 'two', command: process.execPath, args: [fixture], env: {}, routes: ['/two/**'], idleMs },
    ],
    logDir: dir,
    log: (line) => logged.push(line),
    ...rest,
  })
  const scale: ScaleEvent[] = []
  gateway.on('scale', (event) => scale.push(event))
  const server = createServer((req, res) => gateway.handler(req, res))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  cleanups.push(async () => {
    server.closeAllConnections()
    server.close()
    await gateway.close()
    rmSync(dir, { recursive: true })
  })
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return { base, gateway, scale, logged, dir, server }
}

const isAlive = (pid: number) => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

async function pidOf(response: Response): Promise<number> {
  return ((await response.json()) as { pid: number }).pid
}

test('starts from zero for the first request, holds all that come meanwhile, goes back to zero', async () => {
  const { base, gateway, scale } = await start({ idleMs: 100, env: { START_MS: '150' } })
  expect(gateway.pids()).toEqual({ one: [], two: [] })
  const answers = await Promise.all(Array.from({ length: 20 }, (_, n) => fetch(`${base}/one/x?n=${n}`)))
  const pids = new Set(await Promise.all(answers.map(pidOf)))
  expect(pids.size).toBe(1)
  expect(scale).toMatchObject([{ function: 'one', from: 0, to: 1, reason: 'request' }])
  expect(scale[0]?.ms).toBeGreaterThan(150)
  await vi.waitFor(
    () => expect(scale[1]).toMatchObject({ function: 'one', from: 1, to: 0, reason: 'idle' }),
    3_000,
  )
  expect(gateway.pids()).toEqual({ one: [], two: [] })
  expect([...pids].map(isAlive)).toEqual([false])
})

test('routes by path and answers 404 in the shape of every error', async () => {
  const { base, scale } = await start()
  expect((await fetch(`${base}/run/123/stream?x=1`)).status).toBe(200)
  expect(scale.map((event) => event.function)).toEqual(['one'])
  const missing = await fetch(`${base}/run/1/2/stream`)
  expect(missing.status).toBe(404)
  const body = (await missing.json()) as Record<string, unknown>
  expect(body).toMatchObject({
    code: 'not_found',
    error: body.detail,
    message: body.detail,
    success: false,
  })
})

test('gives the process only its own environment', async () => {
  const { base } = await start({ env: { SETTING: 'x' } })
  const { env } = (await (await fetch(`${base}/one`)).json()) as { env: string[] }
  expect(new Set(env)).toEqual(new Set(['HOST', 'PORT', 'SETTING']))
})

test('passes bodies, statuses and headers both ways, without hop-by-hop ones', async () => {
  const { base } = await start()
  const body = 'é'.repeat(2_000_000)
  const answer = await fetch(`${base}/one/echo`, {
    method: 'POST',
    body,
    headers: { 'x-mine': 'yes', te: 'trailers' },
  })
  expect(answer.status).toBe(201)
  expect(answer.headers.getSetCookie()).toEqual(['a=1', 'b=2'])
  const saw = JSON.parse(answer.headers.get('x-saw') ?? '{}') as Record<string, string>
  const host = new URL(base).host
  expect(saw).toMatchObject({
    'x-mine': 'yes',
    host,
    'x-forwarded-for': '127.0.0.1',
    'x-forwarded-proto': 'http',
    'x-forwarded-host': host,
  })
  expect(saw).not.toHaveProperty('te')
  expect(await answer.text()).toBe(body)
})

test('an answer before the end of the upload arrives', async () => {
  const { base } = await start()
  const answer = await fetch(`${base}/one/early`, { method: 'POST', body: 'x'.repeat(5_000_000) })
  expect([answer.status, await answer.text()]).toEqual([413, 'too large'])
})

test('an answer before the end of the upload leaves the connection good for the next request', async () => {
  const { base } = await start()
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  for (let round = 1; round <= 3; round++) {
    const status = await new Promise((resolve, reject) => {
      const sent = request(`${base}/one/early`, { method: 'POST', agent, timeout: 2000 }, (answer) => {
        answer.resume().on('end', () => resolve(answer.statusCode))
      })
      sent.on('timeout', () => sent.destroy(new Error('the connection is stuck')))
      sent.on('error', reject)
      sent.end('x'.repeat(5_000_000))
    })
    expect(status).toBe(413)
  }
  agent.destroy()
})

test('streams events as they are written and tells the function when the caller leaves', async () => {
  const { base, dir } = await start()
  const leave = new AbortController()
  const answer = await fetch(`${base}/one/events`, { signal: leave.signal })
  const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader()
  const first = await reader?.read()
  expect(first?.value).toMatch(/^data: 0\n\n/)
  leave.abort()
  await vi.waitFor(() => expect(readFileSync(join(dir, 'one.log'), 'utf8')).toContain('caller left'), 30_000)
})

test('no request is dropped while the function stops again and again under load', async () => {
  // Requests come in at about the idle window, so that many meet a process in the moment it is stopped.
  const { base, scale } = await start({ idleMs: 4, env: { STOP_MS: '20' } })
  const statuses: number[] = []
  const callers = Array.from({ length: 4 }, async (_, caller) => {
    for (let n = 0; n < 100; n++) {
      const answer = await fetch(`${base}/one/x`, { method: 'POST', body: `${caller}.${n}` })
      statuses.push(answer.status)
      await answer.text()
      await sleep(Math.random() * 12)
    }
  })
  await Promise.all(callers)
  expect(statuses).toHaveLength(400)
  expect(statuses.filter((status) => status !== 200)).toEqual([])
  expect(scale.filter((event) => event.reason === 'idle').length).toBeGreaterThan(5)
  expect(scale.filter((event) => event.reason === 'died')).toEqual([])
}, 60_000)

test('a long request keeps its process, whatever the idle window', async () => {
  const { base, scale } = await start({ idleMs: 20 })
  const answer = await fetch(`${base}/one/x?ms=300`)
  expect(answer.status).toBe(200)
  expect(scale).toHaveLength(1)
})

test('SIGKILL in the middle: 502 or a cut stream for those in flight, a fresh process for the next', async () => {
  const { base, gateway, scale, logged } = await start()
  const events = await fetch(`${base}/one/events`)
  const hanging = fetch(`${base}/one/hang`)
  const [pid = 0] = Object.values(gateway.pids()).flat()
  await sleep(50)
  process.kill(pid, 'SIGKILL')
  const answer = await hanging
  expect([answer.status, answer.headers.get('retry-after')]).toEqual([502, '1'])
  await expect(events.text()).rejects.toThrow()
  const next = await fetch(`${base}/one/x`)
  expect(next.status).toBe(200)
  expect(await pidOf(next)).not.toBe(pid)
  expect(scale).toMatchObject([{ to: 1 }, { to: 0, reason: 'died' }, { to: 1 }])
  expect(logged).toEqual(['one was killed by SIGKILL'])
})

test('a process killed while it starts is replaced, and the held request is served', async () => {
  const { base, gateway } = await start({ env: { START_MS: '300' } })
  const held = fetch(`${base}/one/x`)
  await vi.waitFor(() => expect(gateway.pids().one).toHaveLength(1), 30_000)
  for (const pid of Object.values(gateway.pids()).flat()) process.kill(pid, 'SIGKILL')
  expect((await held).status).toBe(200)
})

test('a crash loop is refused with the reason, in the log with the last lines of stderr', async () => {
  const { base, logged } = await start({ env: { CRASH: 'no such thing' } })
  const answer = await fetch(`${base}/one/x`)
  expect(answer.status).toBe(503)
  expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
  expect(await answer.json()).toMatchObject({
    code: 'unavailable',
    error: expect.stringContaining('exited with status 3'),
  })
  expect(logged.filter((line) => line.includes('before it was ready'))).toHaveLength(3)
  expect(logged.at(-1)).toMatch(/3 times in a row, next start in 200 ms\)\n {2}broken setting: no such thing/)
  expect((await fetch(`${base}/two/x`)).status).toBe(200)
})

test('errors in the functions’ output are told, each once, and everything is in the file', async () => {
  const { base, logged, dir } = await start({ env: { SAY: 'true' } })
  await fetch(`${base}/one/x`)
  const lines = () => readFileSync(join(dir, 'one.log'), 'utf8').trim().split('\n')
  await vi.waitFor(() => expect(lines()).toHaveLength(7), 30_000)
  expect(logged).toEqual(['one: broke: no disk', 'one: model turn failed: not reached', 'one: plain trouble'])
})

test('a request is held for a bounded time and in bounded number', async () => {
  const { base } = await start({ holdMs: 1500, queueSize: 2, env: { START_MS: '9000' } })
  const answers = await Promise.all([1, 2, 3].map(() => fetch(`${base}/one/x`)))
  expect(answers.map(({ status }) => status)).toEqual([503, 503, 503])
  const reasons = await Promise.all(
    answers.map(async (answer) => ((await answer.json()) as { error: string }).error),
  )
  expect(reasons.toSorted()).toEqual([
    'Too many requests wait for one to start',
    'one did not start within 1500 ms',
    'one did not start within 1500 ms',
  ])
})

test('a process that never gets ready is killed and counted as a crash', async () => {
  const { base, gateway } = await start({ startTimeoutMs: 100, env: { START_MS: '60000' } })
  expect((await fetch(`${base}/one/x`)).status).toBe(503)
  expect(gateway.pids().one).toEqual([])
})

test('close ends everything, also a process that ignores SIGTERM or is only starting', async () => {
  const { base, gateway } = await start({ graceMs: 100, env: { STOP_MS: '60000' } })
  await fetch(`${base}/one/x`)
  const held = fetch(`${base}/two/x`)
  await vi.waitFor(() => expect(gateway.pids().two).toHaveLength(1), 30_000)
  const pids = Object.values(gateway.pids()).flat()
  expect(pids).toHaveLength(2)
  await gateway.close()
  expect(pids.map(isAlive)).toEqual([false, false])
  expect((await held).status).toBeGreaterThanOrEqual(200)
  expect((await fetch(`${base}/one/x`)).status).toBe(503)
})
