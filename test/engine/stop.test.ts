import { afterAll, beforeAll, expect, it } from 'vitest'
import type { MemoryReply } from '../../shared/adapters/memory/model.ts'
import { cancelRun } from '../../shared/engine/cancel-run.ts'
import type { FrontPorts } from '../../shared/engine/create-run.ts'
import type { Cache } from '../../shared/ports/cache.ts'
import type { Log, LogFields } from '../../shared/ports/log.ts'
import type { ModelRequest } from '../../shared/ports/model.ts'
import { type Engine, engine, principal, say, script, silentLog } from './harness.ts'

let respond: (request: ModelRequest) => MemoryReply | Promise<MemoryReply> = () => 'silence'
let e: Engine
const warned: LogFields[] = []
const log: Log = { ...silentLog, warn: (fields) => void warned.push(fields), child: () => log }
/** Of the lease, by which its renewals are timed. */
const LEASE_SECONDS = 6
const RUNS = 20

beforeAll(async () => {
  e = await engine((request) => respond(request))
  e.deps.log = log
  e.deps.settings.leaseSeconds = LEASE_SECONDS
})
afterAll(() => e.close())

const ports = (cache: Cache): FrontPorts => ({
  store: e.front,
  cache,
  scheduler: async () => e.scheduler,
  log: silentLog,
})
const caller = (who: ReturnType<typeof principal>) => ({
  ...who,
  accessToken: '',
  expiresAt: 0,
  projectUrl: null,
  projectKey: null,
})

/** Streams of several runs at once, stopped at moments spread over a poll: ms from the acknowledgement to the end of each, in order. */
async function stopStreams(cache: Cache): Promise<number[]> {
  e.deps.cache = cache
  respond = () => 'silence'
  return (
    await Promise.all(
      Array.from({ length: RUNS }, async (_, n) => {
        const who = principal()
        const { run } = await e.create(who)
        const delivery = e
          .deliver({ run_id: run.id, step_number: 0 })
          .then((advance) => ({ advance, at: performance.now() }))
        await expect.poll(async () => (await e.run(run.id)).status, { timeout: 20_000 }).toBe('planning')
        await new Promise((resolve) => setTimeout(resolve, 500 + n * 97))
        await cancelRun(ports(cache), caller(who), run.id)
        const stopped = performance.now()
        const { advance, at } = await delivery
        expect(advance).toEqual({ outcome: 'stale' })
        const row = await e.run(run.id)
        // settled with what it had reserved, and nothing is left in flight
        expect(row).toMatchObject({ status: 'cancelled', total_credits_used: '5.0000' })
        return Math.max(0, at - stopped)
      }),
    )
  ).toSorted((a, b) => a - b)
}

const p95 = (sorted: number[]) => sorted[Math.ceil(sorted.length * 0.95) - 1] ?? 0

it('when a run is stopped, Redis tells its stream to end, and the wasted request is counted', {
  timeout: 120_000,
}, async () => {
  const times = await stopStreams(e.cache)
  process.stdout.write(`stop to end of stream, flag in Redis: p95 ${Math.round(p95(times))} ms of ${RUNS}\n`)
  expect(warned.filter(({ code }) => code === 'stopped_in_flight')).toHaveLength(RUNS)
  expect(await e.violations()).toEqual([])
})

it('without Redis it ends with the next renewal of the lease', { timeout: 120_000 }, async () => {
  const dead: Cache = { ...e.cache, hasFlag: async () => false, setFlag: async () => undefined }
  const times = await stopStreams(dead)
  process.stdout.write(`stop to end of stream, without Redis: p95 ${Math.round(p95(times))} ms of ${RUNS}\n`)
  expect(await e.violations()).toEqual([])
})

it('an answer that arrives after the stop changes nothing, is paid for once and counted', async () => {
  const who = principal()
  warned.length = 0
  const { run } = await e.create(who)
  e.deps.cache = e.cache
  respond = async (request) => {
    await e.front.cancelRun({ principal: who, run_id: run.id })
    return {
      ...(script([[say('End.')]])(request) as object),
      usage: { inputTokens: 70, outputTokens: 7 },
    } as MemoryReply
  }
  expect(await e.deliver({ run_id: run.id, step_number: 0 })).toEqual({ outcome: 'stale' })
  expect(await e.run(run.id)).toMatchObject({
    status: 'cancelled',
    plan: null,
    total_tokens_used: '77',
    total_credits_used: '5.0000',
  })
  expect(warned).toContainEqual({
    run_id: run.id,
    step_number: 0,
    attempt: 1,
    code: 'stopped_in_flight',
    count: 77,
  })
  expect(await e.violations()).toEqual([])
})

it('a stop that is known before the request is sent costs nothing', async () => {
  const who = principal()
  const { run } = await e.create(who)
  const asked = e.model.requests.length
  const flags = e.cache
  // stopped between the claim and the last look
  e.deps.cache = {
    ...flags,
    async hasFlag(name) {
      await e.front.cancelRun({ principal: who, run_id: run.id }).catch(() => undefined)
      return name.includes(run.id)
    },
  }
  expect(await e.deliver({ run_id: run.id, step_number: 0 })).toEqual({ outcome: 'stale' })
  expect(e.model.requests.length).toBe(asked)
  expect(await e.run(run.id)).toMatchObject({ status: 'cancelled', total_credits_used: '0.0000' })
  expect(await e.violations()).toEqual([])
})
