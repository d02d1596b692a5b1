import pg from 'pg'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { createRun, type User, untilStatus } from '../system/kit.ts'
import { figure } from './figure.ts'
import { install } from './installation.ts'
import { commandsPrompt } from './model.ts'
import { follow, readStream } from './read-stream.ts'
import { kubectl, kubectlJson } from './run.ts'
import { newUser } from './user.ts'

/** Knative ends every request after timeoutSeconds, streams included. Short limits show what happens when they are reached. */
const LIMIT_SECONDS = 20

let user: User

beforeAll(async () => {
  await install()
  user = await newUser('stream')
}, 600_000)
afterAll(async () => {
  // the next apply brings back what the overlay says
  await install()
}, 300_000)

async function patch(
  name: string,
  spec: Record<string, unknown>,
  env: Record<string, string> = {},
): Promise<void> {
  const service = await kubectlJson<{
    spec: { template: { spec: { containers: { env: { name: string; value: string }[] }[] } } }
  }>(['get', 'ksvc', name, '-n', 'agents'])
  const kept = (service.spec.template.spec.containers[0]?.env ?? []).filter(
    (variable) => !(variable.name in env),
  )
  const operations = [
    ...Object.entries(spec).map(([field, value]) => ({
      op: 'replace',
      path: `/spec/template/spec/${field}`,
      value,
    })),
    {
      op: 'replace',
      path: '/spec/template/spec/containers/0/env',
      value: [...kept, ...Object.entries(env).map(([variable, value]) => ({ name: variable, value }))],
    },
  ]
  await kubectl(['patch', 'ksvc', name, '-n', 'agents', '--type=json', '-p', JSON.stringify(operations)])
  await kubectl(['wait', `ksvc/${name}`, '-n', 'agents', '--for=condition=Ready', '--timeout=120s'])
  const { status } = await kubectlJson<{
    status: { latestCreatedRevisionName: string; latestReadyRevisionName: string }
  }>(['get', 'ksvc', name, '-n', 'agents'])
  expect(status.latestReadyRevisionName).toBe(status.latestCreatedRevisionName)
}

test('timeoutSeconds ends a stream that does not end itself; the reader goes on where it was and misses nothing', async () => {
  await patch(
    'agent-logs',
    { timeoutSeconds: LIMIT_SECONDS, responseStartTimeoutSeconds: LIMIT_SECONDS },
    { STREAM_MAX_SECONDS: '280', STREAM_HEARTBEAT_SECONDS: '5', SHUTDOWN_SECONDS: '10' },
  )
  const runId = await createRun(user, {
    prompt: commandsPrompt(['sleep 45; echo one']),
  })
  const stop = new AbortController()
  const following = follow(user, runId, stop.signal)
  await untilStatus(user, runId, 'completed', 240_000)
  const timer = setTimeout(() => stop.abort(), 60_000)
  const { ends } = await following
  clearTimeout(timer)
  const longest = Math.max(...ends.map(({ seconds }) => seconds))
  // what was shown live is not sent again as a stored row
  const stored = (events: readonly { id: string; name: string }[]) =>
    events.filter(({ name }) => name !== 'terminal').map(({ id }) => id)
  const seen = stored(ends.flatMap(({ events }) => events))
  const whole = stored((await readStream(user, runId)).events)
  figure('a stream past the limit of the platform', {
    timeoutSeconds: LIMIT_SECONDS,
    connections: ends.length,
    'longest, s': longest,
    'cut by the platform': ends.filter(({ fault }) => fault !== undefined).length,
    events: seen.length,
    missing: whole.filter((id) => !seen.includes(id)).join(', ') || 'none',
    twice: seen.length - new Set(seen).size,
  })
  expect(ends.length).toBeGreaterThan(2)
  expect(longest).toBeLessThan(LIMIT_SECONDS + 3)
  expect(longest).toBeGreaterThan(LIMIT_SECONDS - 3)
  expect(seen).toEqual(whole)
}, 400_000)

test('a stream ends itself before the platform does, with everything told and no connection broken', async () => {
  await patch(
    'agent-logs',
    { timeoutSeconds: LIMIT_SECONDS, responseStartTimeoutSeconds: LIMIT_SECONDS },
    { STREAM_MAX_SECONDS: '12', STREAM_HEARTBEAT_SECONDS: '5', SHUTDOWN_SECONDS: '10' },
  )
  const runId = await createRun(user, { prompt: commandsPrompt(['sleep 30; echo one']) })
  const stop = new AbortController()
  const following = follow(user, runId, stop.signal)
  await untilStatus(user, runId, 'completed', 180_000)
  const timer = setTimeout(() => stop.abort(), 60_000)
  const { ends } = await following
  clearTimeout(timer)
  expect(ends.filter(({ fault }) => fault !== undefined)).toEqual([])
  expect(ends.length).toBeGreaterThan(2)
}, 300_000)

test('responseStartTimeoutSeconds ends a request whose answer has not begun, before timeoutSeconds would', async () => {
  await patch('agent-status', { timeoutSeconds: 30, responseStartTimeoutSeconds: 2 })
  const url = new URL(`${inject('ground').publicUrl}/functions/v1/agent-status`)
  const runId = await createRun(user, { prompt: commandsPrompt(['echo one']) })
  await untilStatus(user, runId, 'completed', 180_000)
  const ask = () =>
    fetch(url, {
      method: 'POST',
      headers: { authorization: `Bearer ${user.token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ run_id: runId }),
    })
  // a start from zero counts as well
  expect((await ask()).status).toBe(200)
  const client = new pg.Client({ connectionString: inject('ground').databaseUrl })
  await client.connect()
  // the function waits for the database, 4 s at most (lock_timeout of its role): it has nothing to answer yet
  await client.query('begin; lock table public.agent_runs in access exclusive mode')
  const started = performance.now()
  const { status } = await ask().finally(() => client.end())
  const seconds = (performance.now() - started) / 1000
  figure('a request whose answer does not begin', { responseStartTimeoutSeconds: 2, status, s: seconds })
  expect(status).toBe(504)
  expect(seconds).toBeGreaterThan(1.8)
  expect(seconds).toBeLessThan(3.8)
}, 400_000)
