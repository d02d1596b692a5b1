import { execFile, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseEnv, promisify } from 'node:util'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { signInDemoUser } from './cli/demo-user.ts'
import { canListen } from './free-port.ts'
import type { ScaleEvent } from './gateway/function-pool.ts'
import { type Stack, type StackOptions, startStack } from './stack.ts'

const root = resolve(import.meta.dirname, '..')
let dir: string
let stack: Stack
const scale: ScaleEvent[] = []

const options = (over: Partial<StackOptions> = {}): StackOptions => ({
  root,
  dir,
  port: 0,
  settings: { STEP_LEASE_SECONDS: '3' }, // what a killed step held is free again after this
  sweepIntervalMs: 1_000,
  tokensPerSecond: Number.POSITIVE_INFINITY,
  fsync: false,
  ...over,
})
const isAlive = (pid: number) => {
  try {
    return process.kill(pid, 0) && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}
const isGone = (pid: number) =>
  vi.waitFor(() => expect(isAlive(pid)).toBe(false), { timeout: 15_000, interval: 50 })

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'stack-'))
  stack = await startStack(options())
  stack.on('scale', (event) => scale.push(event))
}, 60_000)
afterAll(async () => {
  await stack?.close()
  await (await import('./postgres/start-postgres.ts'))
    .startPostgres({ dir: join(dir, 'postgres') })
    .then((postgres) => postgres.remove())
  rmSync(dir, { recursive: true, force: true })
}, 60_000)

async function create(prompt: string): Promise<{ runId: string; headers: Record<string, string> }> {
  const user = await signInDemoUser(stack.env)
  const headers = { authorization: `Bearer ${await user.token()}`, 'content-type': 'application/json' }
  const answer = await fetch(`${stack.origin}/agent/execute`, {
    method: 'POST',
    headers,
    body: JSON.stringify({ action: 'create', prompt }),
  })
  expect(answer.status).toBe(201)
  return { runId: ((await answer.json()) as { run_id: string }).run_id, headers }
}

async function statusOf({ runId, headers }: Awaited<ReturnType<typeof create>>): Promise<string> {
  const answer = await fetch(`${stack.origin}/agent/status`, {
    method: 'POST',
    headers,
    body: JSON.stringify({ run_id: runId }),
  })
  return ((await answer.json()) as { run: { status: string } }).run.status
}

test('a run goes from nothing to its answer through the public URLs, from zero', async () => {
  const run = await create('What is 6 times 7?')
  await vi.waitFor(async () => expect(await statusOf(run)).toBe('completed'), {
    timeout: 30_000,
    interval: 200,
  })
  expect(scale.filter(({ from, to }) => from === 0 && to === 1).map((event) => event.function)).toEqual(
    expect.arrayContaining(['execute', 'step', 'status']),
  )
}, 40_000)

test('one origin answers for all', async () => {
  const paths = ['/health', '/ready', '/openapi.json', '/docs', '/auth/v1/.well-known/jwks.json']
  const statuses = await Promise.all(
    paths.map(async (path) => (await fetch(`${stack.origin}${path}`)).status),
  )
  expect(statuses).toEqual(paths.map(() => 200))
  expect((await fetch(`${stack.origin}/qstash/v2/keys`)).status).toBe(401)
  expect((await fetch(`${stack.origin}/redis/get/x`)).status).toBe(401)
  expect((await fetch(`${stack.origin}/elsewhere`)).status).toBe(404)
  expect((await fetch(`${stack.origin}/agent/step`, { method: 'POST', body: '{}' })).status).toBe(401)
})

test('settings for other programs and secrets are on disk, for the owner only', () => {
  expect(parseEnv(readFileSync(join(dir, 'env'), 'utf8'))).toEqual(stack.env)
  for (const name of ['env', 'keys.json', 'secrets.json'])
    expect(statSync(join(dir, name)).mode & 0o077).toBe(0)
})

test('a second stack of the same folder is refused with the address and pid of the first', async () => {
  await expect(startStack(options())).rejects.toThrow(
    new RegExp(`running already at ${stack.origin} \\(process ${process.pid}\\)`),
  )
  expect((await fetch(`${stack.origin}/health`)).status).toBe(200)
})

test('a port in use is refused before anything is started', async () => {
  const other = mkdtempSync(join(tmpdir(), 'stack-'))
  const port = Number(new URL(stack.origin).port)
  await expect(startStack(options({ dir: other, port }))).rejects.toThrow(
    /^Port \d+ of localhost is in use: .*--port/,
  )
  expect(existsSync(join(other, 'postgres'))).toBe(false)
  expect(existsSync(join(other, 'lock'))).toBe(false)
  rmSync(other, { recursive: true })
})

test('stopped in the middle of a run and started again, the run completes and nothing was left behind', async () => {
  const run = await create('Stop in the middle')
  await vi.waitFor(() => expect(stack.gateway.pids().step).not.toEqual([]), {
    timeout: 10_000,
    interval: 5,
  })
  const pids = [...Object.values(stack.gateway.pids()).flat(), stack.postgres.pid]
  const port = Number(new URL(stack.origin).port)
  await stack.close()
  expect(pids.filter(isAlive)).toEqual([])
  expect(existsSync(join(dir, 'lock'))).toBe(false)
  expect(await canListen(port)).toBe(true)
  stack = await startStack(options())
  await vi.waitFor(async () => expect(await statusOf(run)).toBe('completed'), {
    timeout: 60_000,
    interval: 300,
  })
}, 90_000)

test('a stack that is SIGKILLed leaves nothing running for long, and the next start takes over', async () => {
  await stack.close()
  const script = join(dir, 'victim.ts')
  writeFileSync(
    script,
    `import { startStack } from ${JSON.stringify(join(root, 'dev/stack.ts'))}
     const stack = await startStack({ root: ${JSON.stringify(root)}, dir: ${JSON.stringify(dir)}, port: 0, fsync: false, settings: {} })
     await fetch(stack.origin + '/health')
     console.log(JSON.stringify([...Object.values(stack.gateway.pids()).flat(), stack.postgres.pid]))`,
  )
  const victim = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'inherit'] })
  const pids = await new Promise<number[]>((done) =>
    victim.stdout.once('data', (text) => done(JSON.parse(String(text)) as number[])),
  )
  expect(pids).toHaveLength(2)
  victim.kill('SIGKILL')
  for (const pid of pids) await isGone(pid)
  expect(existsSync(join(dir, 'lock'))).toBe(true)
  stack = await startStack(options())
  expect((await fetch(`${stack.origin}/health`)).status).toBe(200)
}, 60_000)

test('the printed lines work in a shell as they are', async () => {
  const { tryNext } = await import('./cli/try-next.ts')
  const run = await create('Hello')
  const lines = tryNext({ envFile: join(dir, 'env'), runId: run.runId })
  await vi.waitFor(async () => expect(await statusOf(run)).toBe('completed'), {
    timeout: 30_000,
    interval: 200,
  })
  const said = async (last: number) => {
    const script = [...lines.slice(0, 2), lines[last]].join('\n')
    return (await promisify(execFile)('/bin/sh', ['-ec', script], { timeout: 30_000 })).stdout
  }
  expect(JSON.parse(await said(2))).toMatchObject({ success: true, run_id: expect.any(String) })
  expect(JSON.parse(await said(3))).toMatchObject({ run: { id: run.runId, status: 'completed' } })
  expect(await said(4)).toMatch(/^event: complete$/m)
}, 60_000)

test('fresh begins empty', async () => {
  await stack.close()
  stack = await startStack(options({ fresh: true }))
  const user = await signInDemoUser(stack.env)
  const { count } = await user.supabase.from('agent_runs').select('id', { count: 'exact', head: true })
  expect(count).toBe(0)
}, 30_000)
