import { createFrontStore } from '../../shared/adapters/postgres/front-store.ts'
import { createStepStore } from '../../shared/adapters/postgres/step-store.ts'
import { advanceRun } from '../../shared/engine/advance-run.ts'
import type { Bench } from '../bench.ts'
import { chain, runOf } from '../chain.ts'
import { costOf, costText } from '../cost.ts'
import { openFloor } from '../floor.ts'
import { compare } from '../pairs.ts'
import { type CaseReport, ratioText } from '../report.ts'

const STEPS = 40
const TARGET = 1.4

/** One run of 40 steps taken by one invocation, against F1: the same number of transactions of the least that must be written. */
export async function burst(bench: Bench): Promise<CaseReport> {
  const database = await bench.database()
  const front = createFrontStore({ url: database.logins.api, timeoutMs: 10_000, applicationName: 'bench' })
  const created = async (count: number) =>
    await Promise.all(Array.from({ length: count }, async () => (await front.createRun(runOf(STEPS))).run.id))

  const floor = openFloor(database.logins.step)
  const candidate = openBurst(database.logins.step)
  const floorRun = async () => {
    const id = await floor.create()
    const started = performance.now()
    for (let n = 0; n < STEPS; n++) await floor.step(id, n)
    return (performance.now() - started) / STEPS
  }
  const candidateRun = async () => {
    const [id = ''] = await created(1)
    const started = performance.now()
    await candidate.take(id)
    return (performance.now() - started) / STEPS
  }
  const compared = await compare(bench.pairs, floorRun, candidateRun)
  await Promise.all([floor.close(), candidate.close()])

  // Apart from the pairs, as only ended backends tell all their figures.
  const runs = bench.quick ? 5 : 20
  const counted = openBurst(database.logins.step)
  const [warm = '', ...ids] = await created(runs + 1)
  await front.close()
  await counted.take(warm)
  const cost = await costOf(database, runs * STEPS, {
    work: async () => {
      for (const id of ids) await counted.take(id)
    },
    end: () => counted.close(),
  })
  const base = openFloor(database.logins.step)
  const baseIds = await Promise.all(ids.map(() => base.create()))
  const baseCost = await costOf(database, runs * STEPS, {
    work: async () => {
      for (const id of baseIds) for (let n = 0; n < STEPS; n++) await base.step(id, n)
    },
    end: () => base.close(),
  })
  return {
    rows: [
      {
        what: 'burst, `postgres` store: time a step against F1',
        target: `≤ ${TARGET} × F1`,
        result: `${ratioText(compared.ratio)}: ${compared.candidate.toFixed(2)} ms, F1 ${compared.floor.toFixed(2)} ms`,
        reached: compared.ratio.high <= TARGET,
      },
      {
        what: 'burst: WAL syncs a step',
        target: '1',
        // A run's first and last step, what went before and the WAL writer add a few to hundreds.
        result: `${cost.walSyncs.toFixed(2)} (F1 ${baseCost.walSyncs.toFixed(2)})`,
        reached: cost.walSyncs < 1.1,
      },
    ],
    notes: [
      `One run of ${STEPS} steps, model and inline tool steps in turn, by one invocation; ${compared.pairs} pairs. Where the time goes, a step:\n\n${costText('burst', cost)}\n${costText('F1', baseCost)}`,
    ],
  }
}

function openBurst(url: string) {
  const store = createStepStore({ url, timeoutMs: 10_000, applicationName: 'bench' })
  const deps = chain({
    store,
    scheduler: { publish: async () => {} },
    textBytes: 200,
    burst: { steps: STEPS, ms: 60_000 },
  })
  return {
    async take(runId: string): Promise<void> {
      const advance = await advanceRun(deps, { run_id: runId, step_number: 0 })
      if (!('steps' in advance) || advance.steps !== STEPS)
        throw new Error(`the burst ended early: ${JSON.stringify(advance)}`)
    },
    close: () => store.close(),
  }
}
