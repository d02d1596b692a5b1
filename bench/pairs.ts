import { bootstrap, type Interval, median } from './statistics.ts'

export interface Compared {
  /** Candidate over floor, pair by pair. */
  ratio: Interval
  /** Medians of what one measurement gave. */
  floor: number
  candidate: number
  pairs: number
}

/**
 * Measures floor and candidate in turns, in changing order, so that a machine that becomes slower or faster meanwhile does so for both.
 * The first pair warms up and does not count.
 */
export async function compare(
  pairs: number,
  floor: () => Promise<number>,
  candidate: () => Promise<number>,
): Promise<Compared> {
  const floors: number[] = []
  const candidates: number[] = []
  for (let pair = -1; pair < pairs; pair++) {
    const floorFirst = pair % 2 === 0
    const before = floorFirst ? await floor() : undefined
    const theirs = await candidate()
    const ours = before ?? (await floor())
    if (pair < 0) continue
    floors.push(ours)
    candidates.push(theirs)
  }
  const ratios = candidates.map((value, index) => value / (floors[index] ?? Number.NaN))
  return { ratio: bootstrap(ratios), floor: median(floors), candidate: median(candidates), pairs }
}
