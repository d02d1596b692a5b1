import { createFrontStore } from '../../shared/adapters/postgres/front-store.ts'
import { createStepStore } from '../../shared/adapters/postgres/step-store.ts'
import { advanceRun } from '../../shared/engine/advance-run.ts'
import type { Bench } from '../bench.ts'
import { chain, runOf } from '../chain.ts'
import { openFloor } from '../floor.ts'
import { compare } from '../pairs.ts'
import { type CaseReport, ratioText } from '../report.ts'
import { bootstrap, median } from '../statistics.ts'

const RUNS = 100
const STEPS = 8
const THROUGHPUT_TARGET = 0.5
const SLOWEST_TARGET = 3

/** A hundred runs at once in one process over four connections, each a burst; F1 does the same with a hundred loops. */
export async function concurrent(bench: Bench): Promise<CaseReport> {
  const database = await bench.database()
  const front = createFrontStore({ url: database.logins.api, timeoutMs: 30_000, applicationName: 'bench' })
  const store = createStepStore({ url: database.logins.step, timeoutMs: 30_000, applicationName: 'bench' })
  const floor = openFloor(database.logins.step)
  const deps = chain({
    store,
    scheduler: { publish: async () => {} },
    textBytes: 200,
    burst: { steps: STEPS, ms: 60_000 },
  })
  const slowest: number[] = []
  const together = async (ids: readonly string[], take: (id: string) => Promise<void>) => {
    const started = performance.now()
    const times = await Promise.all(
      ids.map(async (id) => {
        await take(id)
        return performance.now() - started
      }),
    )
    return { ms: performance.now() - started, times }
  }
  try {
    const compared = await compare(
      bench.pairs,
      async () => {
        const ids: string[] = []
        for (let n = 0; n < RUNS; n++) ids.push(await floor.create())
        const { ms } = await together(ids, async (id) => {
          for (let n = 0; n < STEPS; n++) await floor.step(id, n)
        })
        return (RUNS * STEPS * 1000) / ms
      },
      async () => {
        const ids: string[] = []
        for (let n = 0; n < RUNS; n++) ids.push((await front.createRun(runOf(STEPS))).run.id)
        const { ms, times } = await together(ids, async (id) => {
          const advance = await advanceRun(deps, { run_id: id, step_number: 0 })
          if (!('steps' in advance) || advance.steps !== STEPS) throw new Error('a burst ended early')
        })
        slowest.push(Math.max(...times) / median(times))
        return (RUNS * STEPS * 1000) / ms
      },
    )
    const slow = bootstrap(slowest)
    return {
      rows: [
        {
          what: '100 runs at once, burst: throughput against F1',
          target: `≥ ${THROUGHPUT_TARGET} × F1`,
          result: `${ratioText(compared.ratio)}: ${Math.round(compared.candidate)} steps/s, F1 ${Math.round(compared.floor)} steps/s`,
          reached: compared.ratio.low >= THROUGHPUT_TARGET,
        },
        {
          what: '100 runs at once: the slowest run against the median',
          target: `≤ ${SLOWEST_TARGET} ×`,
          result: ratioText(slow),
          reached: slow.high <= SLOWEST_TARGET && Math.max(...slowest) <= SLOWEST_TARGET,
        },
      ],
      notes: [
        `${RUNS} runs of ${STEPS} steps, each with its own user, started together; ${compared.pairs} pairs. Both sides have one Node process and four connections on the same cores as Postgres.`,
      ],
    }
  } finally {
    await Promise.all([front.close(), store.close(), floor.close()])
  }
}
