import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest'
import { SERVICES } from '../../shared/config/settings.ts'
import { createRun, type Snapshot, type User, untilStatus, upload } from '../system/kit.ts'
import { violations } from './database.ts'
import { figure } from './figure.ts'
import { install } from './installation.ts'
import { type PodWatch, watchPods } from './pod-watch.ts'
import { kubectlJson } from './run.ts'
import { newUser, reachable } from './user.ts'

/** The main job, as `npm start` does it, with every function from zero and its tools in Jobs. */
let pods: PodWatch
let jobs: PodWatch
let user: User
let snapshot: Snapshot
let seconds: number
let runId: string

beforeAll(async () => {
  await install()
  pods = await watchPods('agents')
  jobs = await watchPods('agents-sandbox')
  await vi.waitFor(() => expect(pods.running()).toEqual([]), { timeout: 90_000, interval: 500 })
  user = await newUser('demo')
  const lock = readFileSync(join(inject('ground').root, 'package-lock.json'))
  const attachment = await upload(user, 'package-lock.json', new Uint8Array(lock))
  const started = performance.now()
  runId = await createRun(user, {
    prompt: 'What is in this file? A table, a chart and the numbers.',
    attachments: [attachment],
  })
  snapshot = await untilStatus(user, runId, 'completed', 240_000)
  seconds = (performance.now() - started) / 1000
}, 600_000)
afterAll(() => {
  pods?.stop()
  jobs?.stop()
})

test('the run completes, its tools were Jobs, and what they wrote reaches the user', async () => {
  const tools = snapshot.steps.filter(({ tool_name }) => tool_name === 'code' || tool_name === 'shell')
  expect(tools.length).toBeGreaterThan(1)
  const ran = [...jobs.pods.values()].filter(({ service }) => service.startsWith(`run-${runId}-`))
  expect(ran.length).toBe(tools.length)
  expect(snapshot.artifacts.length).toBeGreaterThan(1)
  for (const { filename, download_url } of snapshot.artifacts) {
    const answer = await fetch(reachable(download_url))
    expect([filename, answer.status, (await answer.arrayBuffer()).byteLength > 0]).toEqual([
      filename,
      200,
      true,
    ])
  }
  expect(await violations()).toEqual([])
  figure('demo through the gateway', {
    steps: snapshot.steps.length,
    'tool jobs': ran.length,
    artifacts: snapshot.artifacts.length,
    's from zero to the answer': seconds,
  })
})

test('all five services came from zero, and at the end there is no pod of ours', async () => {
  const logs = await fetch(`${inject('ground').publicUrl}/functions/v1/agent-logs?run_id=${runId}`, {
    headers: { authorization: `Bearer ${user.token}` },
  })
  expect([logs.status, ((await logs.json()) as { count: number }).count > 0]).toEqual([200, true])
  for (const service of SERVICES)
    expect([...pods.pods.values()].some((pod) => pod.service === `agent-${service}`)).toBe(true)
  const from = Date.now()
  await expect.poll(() => pods.running().length, { timeout: 120_000, interval: 500 }).toBe(0)
  figure('to zero', { 's from the last answer to the last pod gone': (Date.now() - from) / 1000 })
})

test('no Job stays past its time to live, and no pod of one is at work', async () => {
  await expect.poll(() => jobs.running(), { timeout: 60_000, interval: 500 }).toEqual([])
  const { items } = await kubectlJson<{ items: Job[] }>(['get', 'jobs', '-n', 'agents-sandbox'])
  for (const { spec, status } of items) {
    expect(spec.ttlSecondsAfterFinished).toBeGreaterThan(0)
    const ended = status.conditions?.find(({ type }) => type === 'Complete' || type === 'Failed')
    // the controller writes the end a moment after the pod's
    if (ended === undefined) continue
    const age = (Date.now() - Date.parse(ended.lastTransitionTime)) / 1000
    expect(age).toBeLessThan(spec.ttlSecondsAfterFinished + 30)
  }
})

interface Job {
  spec: { ttlSecondsAfterFinished: number }
  status: { conditions?: { type: string; lastTransitionTime: string }[] }
}
