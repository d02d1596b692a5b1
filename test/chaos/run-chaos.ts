import { setTimeout as sleep } from 'node:timers/promises'
import { seededRandom } from '../../dev/qstash/random.ts'
import { systemStack } from '../system/kit.ts'
import { check, stuckRuns, type Verdict } from './checker.ts'
import { startCommitProxy } from './commit-proxy.ts'
import { Counts } from './counts.ts'
import { startDriver } from './driver.ts'
import { History } from './history.ts'
import { startNemesis } from './nemesis.ts'

/** From the end of the faults to the end of the last run: the sweeper's longest distance between two looks is five minutes. */
const MAX_END_SECONDS = 420
const USERS = 4

export interface Chaos {
  verdict: Verdict
  history: History
  counts: Counts
  stormSeconds: number
  /** From the end of the faults to the end of the last run. */
  endSeconds: number
  fsync: boolean
}

/** A few callers stand for many: no limit is to hold them. */
const SETTINGS = {
  STEP_LEASE_SECONDS: '3',
  RATE_CREATES_PER_MINUTE: '100000',
  RATE_WRITES_PER_MINUTE: '100000',
  RATE_READS_PER_MINUTE: '100000',
  MAX_OPEN_RUNS_PER_USER: '100000',
}

/** The whole stack as processes on a database of its own, with callers, a nemesis, and a look at what is left. */
export async function runChaos({
  seconds,
  seed,
  fsync,
  log,
}: {
  seconds: number
  seed: number
  fsync: boolean
  log: (line: string) => void
}): Promise<Chaos> {
  const random = seededRandom(seed)
  const counts = new Counts()
  const history = new History()
  const proxy = await startCommitProxy(counts)
  const system = await systemStack({ fsync, databaseRoute: proxy.route, settings: SETTINGS })
  try {
    const users = await Promise.all(Array.from({ length: USERS }, (_, n) => system.user(`chaos-${n}`)))
    const nemesis = startNemesis({ system, proxy, counts, random })
    const driver = startDriver({ system, users, history, counts, isCalm: nemesis.isCalm, random })
    const started = performance.now()
    while (performance.now() - started < seconds * 1000) {
      await sleep(Math.min(15_000, seconds * 1000))
      log(
        `${Math.round((performance.now() - started) / 1000)} s: ${history.creates.length} runs, ${driver.active()} not ended, ${counts.of('postgres.crash')} Postgres kills, ${counts.of('commits')} commits`,
      )
    }
    await nemesis.stop()
    const stormSeconds = (performance.now() - started) / 1000
    const stopped = performance.now()
    await driver.stop()
    while (performance.now() - stopped < MAX_END_SECONDS * 1000) {
      const nobodyHeld = await driver.resumeAll()
      if (nobodyHeld && (await stuckRuns(system)).length === 0) break
      await sleep(500)
    }
    const endSeconds = (performance.now() - stopped) / 1000
    // attempts that were in flight when their run ended are settled when their lease is over
    await sleep(5000)
    return { verdict: await check(system, history), history, counts, stormSeconds, endSeconds, fsync }
  } finally {
    await system.close()
    await proxy.close()
  }
}
