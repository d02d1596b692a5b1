import { setTimeout as sleep } from 'node:timers/promises'
import { type Watchdog, watchOver } from '../../dev/watchdog.ts'
import type { SystemStack } from '../system/kit.ts'
import { type CommitProxy, CUTS } from './commit-proxy.ts'
import type { Counts } from './counts.ts'

/** Every fault that a report must show at least once. */
export const FAULT_IDS = [
  'postgres.crash',
  'service.kill',
  'service.stop',
  'commit.reply_swallowed',
  'commit.in_flight',
  'commit.never_sent',
  'redis.flush',
  'redis.down',
  'qstash.drop',
  'qstash.duplicate',
  'qstash.shuffle',
] as const

export interface Nemesis {
  /** True while nothing has been broken for a second and a half, and nothing is. */
  isCalm(): boolean
  /** Ends all faults; resolves when everything is there again. */
  stop(): Promise<void>
}

const STORM_MS = 50_000
const CALM_MS = 6_000
/** After the last fault things come back: Postgres replays its log, a function starts. */
const SETTLE_MS = 1_500

interface Means {
  system: SystemStack
  proxy: CommitProxy
  counts: Counts
  random: () => number
}

/** Breaks things in storms with short calms between them, each kind in a loop of its own. */
export function startNemesis(means: Means): Nemesis {
  const stopping = new AbortController()
  const started = Date.now()
  const isStorm = () => !stopping.signal.aborted && (Date.now() - started) % (STORM_MS + CALM_MS) < STORM_MS
  let lastStormAt = Date.now()
  let broken = 0
  const { random } = means
  const pause = (from: number, to: number) =>
    sleep(from + random() * (to - from), undefined, { signal: stopping.signal }).catch(() => undefined)

  const loop = async (from: number, to: number, strike: () => Promise<void>) => {
    while (!stopping.signal.aborted) {
      await pause(from, to)
      if (!isStorm()) continue
      lastStormAt = Date.now()
      broken += 1
      await strike().finally(() => {
        broken -= 1
        lastStormAt = Date.now()
      })
    }
  }
  const postgres = postgresCrasher(means)
  const loops = [
    loop(2000, 5000, postgres.crash),
    loop(2000, 5000, () => killService(means)),
    loop(2000, 6000, () => stopService(means, pause)),
    loop(300, 1200, () => cutCommit(means)),
    loop(3000, 8000, () => breakRedis(means, pause)),
    loop(1500, 4000, () => breakQueue(means, pause)),
  ]
  return {
    isCalm: () => broken === 0 && !isStorm() && Date.now() - lastStormAt > SETTLE_MS,
    async stop() {
      stopping.abort()
      await Promise.all(loops)
      means.proxy.arm(null)
      means.system.stack().qstash.setFaults({})
      means.system.stack().setRedisAvailable(true)
      postgres.end()
    },
  }
}

function postgresCrasher({ system, counts }: Means) {
  let watchdog: Watchdog | undefined
  return {
    async crash() {
      const { postgres } = system.stack()
      await postgres.crash()
      counts.add('postgres.crash')
      watchdog?.dismiss()
      watchdog = watchOver(postgres.pid)
    },
    end: () => watchdog?.dismiss(),
  }
}

function oneProcess({ system, random }: Means): number | undefined {
  // the step service does the work: it is hit as often as the three others together
  const pids = system.stack().gateway.pids()
  const steps = pids['step'] ?? []
  const others = Object.values(pids).flat()
  const choice = [...others, ...steps, ...steps]
  return choice[Math.floor(random() * choice.length)]
}

async function killService(means: Means): Promise<void> {
  const pid = oneProcess(means)
  if (pid !== undefined && signal(pid, 'SIGKILL')) means.counts.add('service.kill')
}

async function stopService(
  means: Means,
  pause: (from: number, to: number) => Promise<unknown>,
): Promise<void> {
  const pid = oneProcess(means)
  if (pid === undefined || !signal(pid, 'SIGSTOP')) return
  means.counts.add('service.stop')
  // shorter and longer than a lease
  await pause(500, 5000)
  signal(pid, 'SIGCONT')
}

function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, name)
  } catch {
    return false // it was ending by itself
  }
}

async function cutCommit({ proxy, random }: Means): Promise<void> {
  proxy.arm(CUTS[Math.floor(random() * CUTS.length)] ?? 'reply_swallowed')
}

async function breakRedis(
  { system, counts }: Means,
  pause: (from: number, to: number) => Promise<unknown>,
): Promise<void> {
  const stack = system.stack()
  if (counts.of('redis.flush') <= counts.of('redis.down')) {
    const answer = await fetch(stack.env.UPSTASH_REDIS_REST_URL, {
      method: 'POST',
      headers: { authorization: `Bearer ${stack.env.UPSTASH_REDIS_REST_TOKEN}` },
      body: '["FLUSHALL"]',
    })
    if (answer.ok) counts.add('redis.flush')
    await answer.body?.cancel()
    return
  }
  stack.setRedisAvailable(false)
  counts.add('redis.down')
  await pause(500, 3000)
  stack.setRedisAvailable(true)
}

/** One kind after the other, so that a short run has them all. */
function kindsBroken(counts: Counts): number {
  return counts.of('qstash.drop') + counts.of('qstash.duplicate') + counts.of('qstash.shuffle')
}

async function breakQueue(
  { system, counts, random }: Means,
  pause: (from: number, to: number) => Promise<unknown>,
): Promise<void> {
  const { qstash } = system.stack()
  const seed = Math.floor(random() * 1e9)
  const [id, faults] = (
    [
      ['qstash.drop', { drop: 3, seed }],
      ['qstash.duplicate', { duplicate: 0.5, seed }],
      ['qstash.shuffle', { shuffleMs: 400, duplicate: 0.1, seed }],
    ] as const
  )[kindsBroken(counts) % 3] ?? ['qstash.drop', { drop: 1, seed }]
  qstash.setFaults(faults)
  counts.add(id)
  await pause(1000, 3000)
  qstash.setFaults({})
}
