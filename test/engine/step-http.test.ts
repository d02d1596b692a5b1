import { createHash, createHmac } from 'node:crypto'
import { SignJWT } from 'jose'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { stepApp } from '../../functions/step/routes.ts'
import { createSignatureVerifier } from '../../shared/adapters/qstash/signature.ts'
import { readConfig } from '../../shared/config/read-config.ts'
import { jobName } from '../../shared/engine/job-token.ts'
import type { App } from '../../shared/http/env.ts'
import { call, type Engine, engine, principal, SECRET, say, script } from './harness.ts'

const KEY = 'sig_current_key_of_this_test_0001'
const BASE = 'https://api.example.test'
const SWEEP = 'another secret of thirty-two characters'
let e: Engine
let app: App

beforeAll(async () => {
  e = await engine(script([[call('shell', { command: 'x' })], [say('End.')]]))
  const config = readConfig('step', {
    PUBLIC_BASE_URL: BASE,
    SUPABASE_URL: e.project.origin,
    SUPABASE_ANON_KEY: e.project.anonKey,
    SUPABASE_ROLE_TOKEN: 'x',
    UPSTASH_REDIS_REST_URL: 'http://127.0.0.1:1',
    UPSTASH_REDIS_REST_TOKEN: 'x',
    QSTASH_URL: 'http://127.0.0.1:1',
    QSTASH_TOKEN: 'x',
    QSTASH_CURRENT_SIGNING_KEY: KEY,
    QSTASH_NEXT_SIGNING_KEY: 'sig_next_key_of_this_test_00000001',
    ANTHROPIC_API_KEY: 'x',
    SANDBOX_URL: 'http://127.0.0.1:1',
    SANDBOX_TOKEN: 'x',
    AGENT_SECRET: SECRET,
    SWEEP_SECRET: SWEEP,
  })
  app = stepApp(
    config,
    e.deps,
    createSignatureVerifier({
      currentKey: config.qstashCurrentSigningKey,
      nextKey: config.qstashNextSigningKey,
    }),
  )
})
afterEach(async () => {
  expect(await e.violations()).toEqual([])
})
afterAll(() => e.close())

interface Forgery {
  key?: string
  sub?: string
  body?: string
  exp?: number
  nbf?: number
  iss?: string
}

async function sign(
  body: string,
  {
    key = KEY,
    sub = `${BASE}/agent/step`,
    body: signed = body,
    exp = 300,
    nbf = 0,
    iss = 'Upstash',
  }: Forgery = {},
) {
  const now = Math.floor(Date.now() / 1000)
  return new SignJWT({ body: createHash('sha256').update(signed).digest('base64url') })
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .setIssuer(iss)
    .setSubject(sub)
    .setIssuedAt(now)
    .setNotBefore(nbf)
    .setExpirationTime(now + exp)
    .sign(new TextEncoder().encode(key))
}

const post = (path: string, body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string> = {}) =>
  app.request(path, { method: 'POST', body, headers: { 'content-type': 'application/json', ...headers } })

const states = () =>
  e.project.sql(`select run_id, step_number, attempt, fence, state from private.steps order by 1, 2`)

it('takes a signed message, and the same one again without effect', async () => {
  const { run } = await e.create(principal())
  const body = JSON.stringify({ run_id: run.id, step_number: 0 })
  const signature = await sign(body)
  const first = await post('/agent/step', body, { 'upstash-signature': signature })
  expect([first.status, await first.json()]).toEqual([200, { outcome: 'committed' }])
  const again = await post('/agent/step', body, { 'upstash-signature': signature })
  expect([again.status, await again.json()]).toEqual([200, { outcome: 'done' }])
})

it('a step in work is answered with the rest of its lease, and a lease about to end is waited for', async () => {
  const { run } = await e.create(principal())
  const message = { run_id: run.id, step_number: 0 }
  const body = JSON.stringify(message)
  const deliver = async () => post('/agent/step', body, { 'upstash-signature': await sign(body) })
  await e.store.claimStep({ ...message, lease_seconds: 300 })
  const busy = await deliver()
  expect(busy.status).toBe(503)
  const seconds = Number(busy.headers.get('retry-after'))
  expect([seconds > 200, seconds < 300]).toEqual([true, true])
  // its holder is dead, and never renews it
  await e.project.sql(
    `update private.steps set lease_until = clock_timestamp() + interval '0.7 seconds' where run_id = $1`,
    [run.id],
  )
  const soon = await deliver()
  expect([soon.status, await soon.json()]).toEqual([200, { outcome: 'committed' }])
  const [step] = await e.project.sql(
    `select attempt from private.steps where run_id = $1 and step_number = 0`,
    [run.id],
  )
  expect(step).toEqual({ attempt: 2 })
})

it('a message whose signature is not exactly right changes nothing and is answered alike', async () => {
  const { run } = await e.create(principal())
  const body = JSON.stringify({ run_id: run.id, step_number: 0 })
  const before = await states()
  const forged: (string | undefined)[] = [
    undefined,
    '',
    'x'.repeat(5000),
    await sign(body, { key: 'sig_7kYjw48mhY7kAjqNGcy6cr29RJ6r' }), // the public key of the vendor's dev server
    await sign(body, { sub: `${BASE}/agent/step/` }),
    await sign(body, { sub: 'https://evil.example/agent/step' }),
    await sign(body, { body: `${body} ` }),
    await sign(body, { exp: -60 }),
    await sign(body, { nbf: Math.floor(Date.now() / 1000) + 600 }),
    await sign(body, { iss: 'Upstashh' }),
    `${Buffer.from('{"alg":"none"}').toString('base64url')}.${Buffer.from(JSON.stringify({ iss: 'Upstash', sub: `${BASE}/agent/step` })).toString('base64url')}.`,
  ]
  process.env['QSTASH_DEV'] = 'true'
  try {
    const answers = new Set<string>()
    for (const signature of forged) {
      const answer = await post(
        '/agent/step',
        body,
        signature === undefined ? {} : { 'upstash-signature': signature },
      )
      const { request_id: _, ...rest } = (await answer.json()) as { request_id: string }
      answers.add(`${answer.status} ${JSON.stringify(rest)}`)
    }
    expect([...answers]).toHaveLength(1)
    expect([...answers][0]).toMatch(/^401 .*signature_invalid/)
  } finally {
    delete process.env['QSTASH_DEV']
  }
  expect(await states()).toEqual(before)
})

it.each([
  ['no JSON', 'nonsense'],
  ['no object', '[{"run_id":"00000000-0000-4000-8000-000000000000","step_number":0}]'],
  ['a field too few', '{"step_number":0}'],
  ['a number too large', '{"run_id":"00000000-0000-4000-8000-000000000000","step_number":99999999999}'],
  ['an empty body', ''],
])('a signed message with %s is poison: never to be tried again', async (_name, body) => {
  const answer = await post('/agent/step', body, { 'upstash-signature': await sign(body) })
  expect([answer.status, answer.headers.get('upstash-nonretryable-error')]).toEqual([489, 'true'])
})

it.each([
  ['a field too many', '{"run_id":"00000000-0000-4000-8000-000000000000","step_number":0,"x":1}'],
  ['another shape', '{"version":2,"steps":[{"run":"a","number":1}]}'],
])('a signed message of newer code (%s) is handed back, not thrown away', async (_name, body) => {
  const answer = await post('/agent/step', body, { 'upstash-signature': await sign(body) })
  expect([
    answer.status,
    answer.headers.get('retry-after'),
    answer.headers.get('upstash-nonretryable-error'),
  ]).toEqual([503, '10', null])
})

it('a step of a run that newer code has written to is handed back, without an attempt', async () => {
  const { run } = await e.create(principal())
  await e.project.sql('update private.runs set protocol = 2 where run_id = $1', [run.id])
  const body = JSON.stringify({ run_id: run.id, step_number: 0 })
  const answer = await post('/agent/step', body, { 'upstash-signature': await sign(body) })
  expect([answer.status, answer.headers.get('retry-after'), await answer.json()]).toMatchObject([
    503,
    '10',
    { code: 'unavailable' },
  ])
  const rows = await e.project.sql(
    'select attempt, fence::int from private.steps where run_id = $1 and step_number = 0',
    [run.id],
  )
  expect(rows).toEqual([{ attempt: 0, fence: 0 }])
  await e.project.sql('update private.runs set protocol = 1 where run_id = $1', [run.id])
  const taken = await post('/agent/step', body, { 'upstash-signature': await sign(body) })
  expect([taken.status, await taken.json()]).toEqual([200, { outcome: 'committed' }])
})

it('a signed message for a run that does not exist is stale, one over the limit is refused unread', async () => {
  const body = JSON.stringify({ run_id: '00000000-0000-4000-8000-000000000000', step_number: 0 })
  const answer = await post('/agent/step', body, { 'upstash-signature': await sign(body) })
  expect([answer.status, await answer.json()]).toEqual([200, { outcome: 'unknown' }])
  expect((await post('/agent/step', 'x'.repeat(5000))).status).toBe(413)
})

it('a step in work is 503 with what is left of its lease', async () => {
  const { run } = await e.create(principal())
  await e.store.claimStep({ run_id: run.id, step_number: 0, lease_seconds: 5 })
  const body = JSON.stringify({ run_id: run.id, step_number: 0 })
  const answer = await post('/agent/step', body, { 'upstash-signature': await sign(body) })
  expect(answer.status).toBe(503)
  expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
  expect(Number(answer.headers.get('retry-after'))).toBeLessThanOrEqual(5)
})

it('sweeps for the holder of the secret only', async () => {
  const timestamp = String(Math.floor(Date.now() / 1000))
  const signed = (at: string, key = SWEEP) => ({
    'x-agent-timestamp': at,
    'x-agent-signature': createHmac('sha256', key).update(`${at}.{}`).digest('hex'),
  })
  expect((await post('/agent/step/sweep', '{}', signed(timestamp))).status).toBe(200)
  expect((await post('/agent/step/sweep', '{}', signed(timestamp, 'wrong'))).status).toBe(401)
  expect((await post('/agent/step/sweep', '{} ', signed(timestamp))).status).toBe(401)
  expect((await post('/agent/step/sweep', '{}', signed('1000000000'))).status).toBe(401)
  expect((await post('/agent/step/sweep', '{}')).status).toBe(401)
})

it('the door serves a job with its token, from start to result, and nobody else', async () => {
  const { run, publications } = await e.create(principal())
  await e.scheduler.publish(publications)
  await e.drain()
  const job = e.jobs.get(jobName({ runId: run.id, stepNumber: 2 }))
  if (job === undefined) throw new Error('no job')
  const door = (path: string) => `/agent/step/job/${run.id}/2/${path}`
  const bearer = { authorization: `Bearer ${job.token}` }
  for (const headers of [{}, { authorization: 'Bearer wrong' }, { authorization: `Basic ${job.token}` }]) {
    for (const path of ['start', 'output', 'result']) {
      const body = path === 'output' ? '{"chunks":[]}' : path === 'start' ? '{}' : result({})
      expect((await post(door(path), body, headers)).status, path).toBe(401)
    }
  }
  expect((await post(`/agent/step/job/${run.id}/1/start`, '{}', bearer)).status).toBe(401)
  const start = await post(door('start'), '{}', bearer)
  expect([start.status, await start.json()]).toMatchObject([
    200,
    { tool: { name: 'shell', input: { command: 'x' } }, files: [], watched: false },
  ])

  const bytes = new TextEncoder().encode('result file')
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  const put = (hash: string, data: Uint8Array<ArrayBuffer>) =>
    app.request(door(`blob/${hash}`), { method: 'PUT', body: data, headers: bearer })
  expect((await put('0'.repeat(64), bytes)).status).toBe(400)
  expect((await put('../../x', bytes)).status).toBe(404)
  const { receipt } = (await (await put(sha256, bytes)).json()) as { receipt: string }
  expect((await app.request(door(`blob/${sha256}`), { headers: bearer })).status).toBe(404)

  const file = { path: 'outputs/r.txt', sha256, size: bytes.length, mode: 0o644, receipt }
  expect((await post(door('result'), result({ put: [{ ...file, size: 1 }] }), bearer)).status).toBe(400)
  expect((await post(door('result'), result({ put: [{ ...file, path: '../x' }] }), bearer)).status).toBe(400)
  expect((await post(door('result'), '{"outcome":', bearer)).status).toBe(400)
  const answer = await post(door('result'), result({ put: [file] }), bearer)
  expect([answer.status, await answer.json()]).toEqual([200, { ok: true }])
  expect((await post(door('result'), result({ put: [file] }), bearer)).status).toBe(200)
  expect((await post(door('result'), result({}), bearer)).status).toBe(409)
  expect((await post(door('start'), '{}', bearer)).status).toBe(409)
  expect((await app.request(door(`blob/${sha256}`), { headers: bearer })).status).toBe(200)
  await e.drain()
  expect((await e.run(run.id)).status).toBe('completed')
  const [artifact] = await e.project.sql<{ filename: string }>(
    'select filename from public.agent_artifacts where run_id = $1',
    [run.id],
  )
  expect(artifact?.filename).toBe('r.txt')
})

it('a callback for a step that is not parked yet is to come again', async () => {
  const { run, publications } = await e.create(principal())
  await e.scheduler.publish(publications)
  const { create } = e.deps.sandbox
  let early = 0
  const { parkStep } = e.deps.store
  e.deps.store.parkStep = async (input) => {
    const answer = await post(`/agent/step/job/${run.id}/2/start`, '{}', { authorization: 'Bearer early' })
    early = answer.status
    return parkStep(input)
  }
  await e.drain()
  e.deps.store.parkStep = parkStep
  e.deps.sandbox.create = create
  expect(early).toBe(503)
})

function result(files: { put?: unknown[]; removed?: string[] }): string {
  return JSON.stringify({
    outcome: { kind: 'exited', exit_code: 0 },
    stdout: 'ok \u0000 \ud800',
    stderr: '',
    truncated: false,
    duration_ms: 3,
    files: { put: [], removed: [], ...files },
  })
}
