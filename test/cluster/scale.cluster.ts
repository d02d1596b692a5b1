import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest'
import { signDelivery } from '../../dev/qstash/sign.ts'
import { createRun, type User, untilStatus } from '../system/kit.ts'
import { figure, median } from './figure.ts'
import { install } from './installation.ts'
import { commandsPrompt } from './model.ts'
import { type PodWatch, type SeenPod, watchPods } from './pod-watch.ts'
import { newUser } from './user.ts'

/** From zero and back: what a cold request costs and where, and what a run costs while its tools work. */
const ROUNDS = Number(process.env['CLUSTER_COLD_ROUNDS'] ?? 10)
/** 20 steps of 30 s are the figure; a short profile has fewer and shorter ones. */
const TOOL_STEPS = Number(process.env['CLUSTER_TOOL_STEPS'] ?? 20)
const TOOL_SECONDS = Number(process.env['CLUSTER_TOOL_SECONDS'] ?? 30)

let pods: PodWatch
let jobs: PodWatch
let user: User
let runId: string

beforeAll(async () => {
  await install()
  pods = await watchPods('agents')
  jobs = await watchPods('agents-sandbox')
  user = await newUser('scale')
  runId = await createRun(user, { prompt: 'Measure this text: the quick brown fox' })
  await untilStatus(user, runId, 'completed', 180_000)
}, 600_000)
afterAll(() => {
  pods?.stop()
  jobs?.stop()
})

/** One request of each function that needs its database, and that its caller is let in to make. */
const requests: Record<string, () => Promise<Response>> = {
  execute: () => call('agent-execute', { action: 'pause', run_id: runId }),
  status: () => call('agent-status', { run_id: runId }),
  logs: () =>
    fetch(`${inject('ground').publicUrl}/functions/v1/agent-logs?run_id=${runId}`, {
      headers: { authorization: `Bearer ${user.token}` },
    }),
  step: async () => {
    const { publicUrl, environments } = inject('ground')
    const body = JSON.stringify({ run_id: runId, step_number: 0 })
    const signature = await signDelivery({
      key: environments.step.QSTASH_CURRENT_SIGNING_KEY ?? '',
      url: `${publicUrl}/agent/step`,
      body: new TextEncoder().encode(body),
      nowMs: Date.now(),
    })
    return fetch(`${publicUrl}/agent/step`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'upstash-signature': signature },
      body,
    })
  },
}

function call(name: string, body: unknown): Promise<Response> {
  return fetch(`${inject('ground').publicUrl}/functions/v1/${name}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${user.token}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
}

/** Statuses of a first answer that a function gives when it works: execute may not pause what has ended. */
const EXPECTED: Record<string, number> = { execute: 400, status: 200, logs: 200, step: 200 }

/** A pod that drains takes no request: the next one starts from zero. */
const isAtZero = (service: string) => pods.running(service).every(({ leavingAt }) => leavingAt !== undefined)

test(
  `a cold request of each function, ${ROUNDS} times`,
  async () => {
    const names = Object.keys(requests)
    const seen = new Map<string, Record<string, number>[]>(names.map((name) => [name, []]))
    const toZero: number[] = []
    for (let round = 0; round < ROUNDS; round++) {
      for (const name of names) {
        await vi.waitFor(() => expect(isAtZero(`agent-${name}`)).toBe(true), {
          timeout: 120_000,
          interval: 200,
        })
        const known = new Set(pods.pods.keys())
        const from = Date.now()
        const answer = await requests[name]?.()
        const firstByte = Date.now()
        expect([name, answer?.status, await answer?.text()]).toEqual([
          name,
          EXPECTED[name],
          expect.anything(),
        ])
        const pod = [...pods.pods].find(
          ([uid, { service }]) => !known.has(uid) && service === `agent-${name}`,
        )?.[1]
        expect(pod).toBeDefined()
        if (pod !== undefined) seen.get(name)?.push(partsOf(pod, from, firstByte))
        if (name === 'status' && round < 3) toZero.push(await secondsToZero('agent-status'))
      }
    }
    for (const [name, parts] of seen) {
      const of = (part: string) => median(parts.map((one) => one[part] ?? Number.NaN))
      figure(`cold ${name}, medians of ${parts.length}, ms`, {
        'until there is a pod': of('pod'),
        scheduled: of('scheduled'),
        'containers run': of('containers'),
        'ready (Node and its first probe)': of('ready'),
        'first byte': of('answer'),
        whole: of('whole'),
      })
    }
    figure('to zero', { 's from the last request until the pod is gone': median(toZero) })
  },
  ROUNDS * 240_000,
)

/** Milliseconds of each part, by the moments at which the API server told of them. */
function partsOf(pod: SeenPod, from: number, firstByte: number): Record<string, number> {
  const at = (name: string) => pod.arrivals.get(name) ?? Number.NaN
  // the activator probes the pod by itself and may send before the API server tells that it is ready
  const ready = Math.min(pod.arrivals.get('ready') ?? firstByte, firstByte)
  return {
    pod: at('created') - from,
    scheduled: at('scheduled') - at('created'),
    containers: at('containers') - at('scheduled'),
    ready: ready - at('containers'),
    answer: firstByte - ready,
    whole: firstByte - from,
  }
}

async function secondsToZero(service: string): Promise<number> {
  const from = Date.now()
  await vi.waitFor(() => expect(isAtZero(service)).toBe(true), { timeout: 120_000, interval: 100 })
  return (Date.now() - from) / 1000
}

test('a warm request of each function', async () => {
  for (const [name, ask] of Object.entries(requests)) {
    const times: number[] = []
    await (await ask()).text()
    for (let n = 0; n < 30; n++) {
      const from = performance.now()
      await (await ask()).text()
      times.push(performance.now() - from)
    }
    figure(`warm ${name}, ms`, { median: median(times), slowest: Math.max(...times) })
  }
})

test(
  `a run of ${TOOL_STEPS} tool steps of ${TOOL_SECONDS} s: what step and the door cost beside the tools`,
  async () => {
    await vi.waitFor(() => expect(pods.running()).toEqual([]), { timeout: 120_000, interval: 500 })
    const from = Date.now()
    const commands = Array.from({ length: TOOL_STEPS }, (_, n) => `sleep ${TOOL_SECONDS}; echo ${n}`)
    const id = await createRun(user, { prompt: commandsPrompt(commands) })
    const { steps } = await untilStatus(
      user,
      id,
      'completed',
      (TOOL_STEPS * (TOOL_SECONDS + 30) + 120) * 1000,
    )
    const shells = steps.filter(({ tool_name }) => tool_name === 'shell')
    expect(shells.map(({ status }) => status)).toEqual(commands.map(() => 'completed'))
    const took = (Date.now() - from) / 1000
    const serving = (service: string) => pods.servingSeconds(service, from, from + took * 1000)
    const held = (service: string) => pods.podSeconds(service, from)
    await vi.waitFor(() => expect(pods.running()).toEqual([]), { timeout: 120_000, interval: 500 })
    figure(`run of ${TOOL_STEPS} × ${TOOL_SECONDS} s`, {
      's in all': took,
      's of tools': TOOL_STEPS * TOOL_SECONDS,
      's that step served': serving('agent-step'),
      's that the door served': serving('agent-door'),
      'pod-seconds of step with draining': held('agent-step'),
      'of the door': held('agent-door'),
      'pods of step': [...pods.pods.values()].filter(
        (pod) => pod.service === 'agent-step' && pod.createdAt >= from - 1000,
      ).length,
      'pod-seconds of jobs': [...jobs.pods.values()]
        .filter(({ service }) => service.startsWith(`run-${id}-`))
        .reduce((sum, pod) => sum + ((pod.endedAt ?? Date.now()) - (pod.startedAt ?? Date.now())) / 1000, 0),
    })
    // while a tool works nothing of ours does: both are down for a good part of the time
    for (const service of ['agent-step', 'agent-door']) expect(serving(service)).toBeLessThan(took * 0.8)
  },
  (TOOL_STEPS * (TOOL_SECONDS + 30) + 300) * 1000,
)
