import { type ChildProcess, spawn } from 'node:child_process'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it } from 'vitest'
import { targetOf } from './target-of.ts'

const children: ChildProcess[] = []
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})

const FRONT = {
  HOST: '127.0.0.1',
  PUBLIC_BASE_URL: 'http://api.example.com',
  SUPABASE_URL: 'http://127.0.0.1:9',
  SUPABASE_ANON_KEY: 'anon',
  SUPABASE_ROLE_TOKEN: 'role',
  UPSTASH_REDIS_REST_URL: 'http://127.0.0.1:9',
  UPSTASH_REDIS_REST_TOKEN: 'redis',
  TRUSTED_ISSUERS: JSON.stringify([
    { issuer: 'https://p.example.com/auth/v1', user_id: 'sub', jwks_url: 'http://127.0.0.1:9/' },
  ]),
  ALLOWED_ORIGINS: '*',
  QSTASH_URL: 'http://127.0.0.1:9',
  QSTASH_TOKEN: 'q',
}
const STEP = {
  QSTASH_CURRENT_SIGNING_KEY: 'sig_a',
  QSTASH_NEXT_SIGNING_KEY: 'sig_b',
  ANTHROPIC_API_KEY: 'k',
  SANDBOX_URL: 'http://127.0.0.1:9',
  SANDBOX_TOKEN: 's',
  AGENT_SECRET: 'a'.repeat(32),
  SWEEP_SECRET: 's'.repeat(32),
}

function run(entry: string, env: Record<string, string>) {
  const child = spawn(process.execPath, [fileURLToPath(new URL(entry, import.meta.url))], { env })
  children.push(child)
  let stderr = ''
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString()
  })
  child.stdout.resume()
  const exit = new Promise<number | null>((resolve) => child.on('exit', resolve))
  return { child, exit, stderr: () => stderr }
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

async function up(entry: string, env: Record<string, string>) {
  const port = await freePort()
  const started = run(entry, { ...env, PORT: String(port) })
  const base = `http://127.0.0.1:${port}`
  await expect
    .poll(
      () =>
        fetch(`${base}/health/liveness`).then(
          (answer) => answer.status,
          () => started.stderr(),
        ),
      { timeout: 40_000 },
    )
    .toBe(200)
  return { ...started, base }
}

describe('mains', () => {
  it.each(['execute', 'status', 'logs'])(
    '%s listens, answers, and ends with 0 on SIGTERM',
    async (name) => {
      const { base, child, exit } = await up(`./${name}/index.ts`, FRONT)
      expect(await (await fetch(`${base}/health`)).json()).toMatchObject({ status: 'healthy', service: name })
      expect((await fetch(`${base}/ready`)).status).toBe(503)
      child.kill('SIGTERM')
      expect(await exit).toBe(0)
    },
    60_000,
  )

  it('says all that is missing and ends with 1', async () => {
    const { exit, stderr } = run('./index.ts', { FUNCTION_TARGET: 'execute' })
    expect(await exit).toBe(1)
    for (const name of ['PUBLIC_BASE_URL', 'TRUSTED_ISSUERS', 'QSTASH_TOKEN'])
      expect(stderr()).toContain(`${name} is missing: `)
    const all = run('./index.ts', FRONT)
    expect(await all.exit).toBe(1)
    expect(all.stderr().match(/AGENT_SECRET/g)).toHaveLength(1)
    expect(all.stderr()).not.toContain('QSTASH_TOKEN')
  }, 60_000)

  it('says in a sentence that its port is in use', async () => {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { exit, stderr } = run('./status/index.ts', {
      ...FRONT,
      PORT: String((server.address() as AddressInfo).port),
    })
    expect(await exit).toBe(1)
    expect(stderr()).toBe('The port is in use: set PORT to a free one.\n')
    server.close()
  }, 60_000)

  it('serves all four on one port, without their short paths', async () => {
    const { base, child, exit } = await up('./index.ts', { ...FRONT, ...STEP })
    const status = async (method: string, path: string) => (await fetch(base + path, { method })).status
    expect(await (await fetch(`${base}/health`)).json()).toMatchObject({ service: 'agent-api' })
    expect(await status('POST', '/')).toBe(404)
    for (const path of [
      '/agent/execute',
      '/functions/v1/agent-execute-phase2',
      '/agent/status',
      '/functions/v1/agent-status',
      '/agent/stream-ticket',
      '/agent/step',
    ]) {
      expect([path, await status('POST', path)]).toEqual([path, 401])
      expect([path, await status('GET', path)]).toEqual([path, 405])
    }
    for (const path of [
      '/agent/runs',
      '/agent/logs?run_id=00000000-0000-4000-8000-000000000000',
      '/agent/stream/00000000-0000-4000-8000-000000000000',
    ]) {
      expect([path, await status('GET', path)]).toEqual([path, 401])
    }
    expect(await status('GET', '/docs')).toBe(200)
    expect(await status('GET', '/openapi.json')).toBe(200)
    child.kill('SIGTERM')
    expect(await exit).toBe(0)
  }, 60_000)
})

it('knows whose every path is', () => {
  const expected = {
    '/agent/execute': 'execute',
    '/agent/execute/': 'execute',
    '/agent/cancel': 'execute',
    '/agent/runs': 'execute',
    '/agent/status': 'status',
    '/functions/v1/agent-logs-phase2': 'logs',
    '/agent/run/x/stream': 'logs',
    '/agent/stream/x': 'logs',
    '/agent/stream-ticket': 'logs',
    '/agent/step': 'step',
    '/agent/step/job/x/1/start': 'step',
    '/': null,
    '/health': null,
    '/agent/executes': null,
    '/functions/v1/agent-executed': null,
    '/constructor': null,
  }
  for (const [path, target] of Object.entries(expected))
    expect([path, targetOf(path)]).toEqual([path, target])
})
