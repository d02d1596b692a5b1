import { describe, expect, it } from 'vitest'
import { MUTANTS, type Mutant } from './mutants.ts'
import { Report } from './report.ts'
import { runWorld } from './world.ts'

const RUNS = process.env['TEST_FULL'] === '1' ? 20_000 : 2000
/** Within so many seeds each missing guard is noticed. */
const SEEDS_A_MUTANT = 400n
/** Bytes are written again just as they are removed in about one world of a thousand. */
const RARE: ReadonlyMap<Mutant, bigint> = new Map([['bytes taken while they go', 5000n]])

describe('the simulation', () => {
  it(
    `${RUNS} runs amid every kind of fault keep every promise`,
    async () => {
      const report = new Report()
      for (let seed = 1n; report.runs < RUNS; seed += 1n) report.add(await runWorld(seed))
      expect(report.broken).toEqual([])
      expect(report.missing).toEqual([])
      // a simulation in which nothing succeeds proves nothing
      expect(report.statuses.get('completed') ?? 0).toBeGreaterThan(RUNS / 2)
    },
    RUNS * 60,
  )

  it('a seed replays exactly, another one does not', async () => {
    const [first, again, other] = [await runWorld(7n), await runWorld(7n), await runWorld(8n)]
    expect(again).toEqual(first)
    expect(other.hash).not.toBe(first.hash)
  })

  it.each(MUTANTS)(
    'notices: %s',
    async (mutant) => {
      for (let seed = 1n; seed <= (RARE.get(mutant) ?? SEEDS_A_MUTANT); seed += 1n) {
        if ((await runWorld(seed, { mutant })).violations.length > 0) return
      }
      throw new Error('the simulation did not notice')
    },
    120_000,
  )
})
