import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest'
import { SERVICES } from '../../shared/config/settings.ts'
import type { User } from '../system/kit.ts'
import { query, violations } from './database.ts'
import { figure } from './figure.ts'
import { install } from './installation.ts'
import { startRuns, stepCounts, untilEnded } from './live-runs.ts'
import { type PodWatch, watchPods } from './pod-watch.ts'
import { kubectl, kubectlJson, run } from './run.ts'
import { newUser } from './user.ts'

/** What happens to runs while the cluster is worked on, or breaks. */
const RUNS = Number(process.env['CLUSTER_ROLLOUT_RUNS'] ?? 20)

let pods: PodWatch
let jobs: PodWatch
let user: User

beforeAll(async () => {
  await install()
  pods = await watchPods('agents')
  jobs = await watchPods('agents-sandbox')
  user = await newUser('rollout')
}, 600_000)
afterAll(() => {
  pods?.stop()
  jobs?.stop()
})

const none = (ends: readonly { status: string }[]) => ends.filter(({ status }) => status !== 'completed')

test(`a new revision of every service rolls out during ${RUNS} live runs: none fails`, async () => {
  const from = Date.now()
  const ids = await startRuns(user, RUNS, ['sleep 2'])
  const [before] = await query<{ n: number }>(
    `select count(*)::int as n from public.agent_runs where id = any ($1) and status in ('queued', 'planning', 'executing')`,
    [ids],
  )
  for (const service of SERVICES) {
    const patch = {
      spec: { template: { metadata: { annotations: { 'agent-functions/rollout': `${from}` } } } },
    }
    await kubectl([
      'patch',
      'ksvc',
      `agent-${service}`,
      '-n',
      'agents',
      '--type=merge',
      '-p',
      JSON.stringify(patch),
    ])
  }
  await kubectl(['wait', 'ksvc', '--all', '-n', 'agents', '--for=condition=Ready', '--timeout=180s'])
  const ends = await untilEnded(ids, 900_000)
  const revisions = await kubectlJson<{ items: unknown[] }>(['get', 'revisions', '-n', 'agents'])
  figure('a rollout during live runs', {
    runs: ids.length,
    'live when it began': before?.n ?? 0,
    revisions: revisions.items.length,
    'not completed': none(ends).length,
    s: (Date.now() - from) / 1000,
    steps: JSON.stringify(await stepCounts(ids)),
  })
  expect(before?.n).toBeGreaterThan(RUNS / 2)
  expect(none(ends)).toEqual([])
  expect(await violations()).toEqual([])
}, 1_200_000)

/** Jobs of these runs whose tool has begun. One that is removed before is made again by the cluster: nothing of it has run. */
const working = (ids: readonly string[]) =>
  jobs
    .running()
    .filter(
      ({ service, arrivals }) =>
        arrivals.has('containers') && ids.some((id) => service.startsWith(`run-${id}-`)),
    )

/** Runs that are under way, then something is killed, then all of them must have ended well. */
async function during(
  what: string,
  strike: (ids: readonly string[]) => Promise<void>,
): Promise<Record<string, number>> {
  const from = Date.now()
  const ids = await startRuns(user, 2, ['sleep 6', 'echo two'])
  await vi.waitFor(() => expect(working(ids).length).toBeGreaterThan(0), { timeout: 120_000, interval: 100 })
  await strike(ids)
  const ends = await untilEnded(ids, 600_000)
  const steps = await stepCounts(ids)
  figure(what, {
    runs: ids.length,
    'not completed': none(ends).length,
    s: (Date.now() - from) / 1000,
    steps: JSON.stringify(steps),
  })
  expect(none(ends)).toEqual([])
  expect(await violations()).toEqual([])
  return steps
}

const killed = (namespace: string, name: string) =>
  kubectl(['delete', 'pod', name, '-n', namespace, '--force', '--grace-period=0', '--wait=false'])

test('the activator is killed: nothing is lost', async () => {
  await during('the activator is killed', async () => {
    const { items } = await kubectlJson<{ items: { metadata: { name: string } }[] }>([
      'get',
      'pods',
      '-n',
      'knative-serving',
      '-l',
      'app=activator',
    ])
    for (const { metadata } of items) await killed('knative-serving', metadata.name)
  })
}, 900_000)

test('every pod of step is killed in the middle: nothing is lost, nothing twice', async () => {
  await during('step is killed', async () => {
    for (let n = 0; n < 3; n++) {
      await vi.waitFor(() => expect(pods.running('agent-step').length).toBeGreaterThan(0), {
        timeout: 120_000,
        interval: 100,
      })
      for (const { name } of pods.running('agent-step')) await killed('agents', name).catch(() => {})
    }
  })
}, 900_000)

test('the pod of a job is killed: its step says so, once, and the run goes on', async () => {
  const steps = await during('the pod of a job is killed', async (ids) => {
    // the runner has asked for its input by then, and its tool sleeps
    await new Promise((resolve) => setTimeout(resolve, 2000))
    for (const { name } of working(ids)) await killed('agents-sandbox', name)
  })
  expect(steps['shell failed TOOL_LOST'] ?? 0).toBeGreaterThan(0)
}, 900_000)

test('the API server is killed and started again: nothing is lost', async (context) => {
  // a cluster of processes on this machine (../shared/cluster); on others there is no way in from here
  const { tools } = inject('ground')
  const pid = await readFile('/run/cluster/kube-apiserver.pid', 'utf8').catch(() => null)
  if (pid === null) return context.skip('the API server of this cluster cannot be killed from here')
  await during('the API server is killed', async () => {
    process.kill(Number(pid), 'SIGKILL')
    await new Promise((resolve) => setTimeout(resolve, 5000))
    await run(join(tools, 'up'), [])
  })
}, 900_000)
