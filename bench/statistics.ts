/** Middle value; of an even count the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  return quantile(values, 0.5)
}

/** Linear between the two nearest ranks. `share` from 0 to 1. */
export function quantile(values: readonly number[], share: number): number {
  if (values.length === 0) throw new Error('there is no quantile of nothing')
  const sorted = values.toSorted((a, b) => a - b)
  const at = share * (sorted.length - 1)
  const low = sorted[Math.floor(at)] ?? Number.NaN
  const high = sorted[Math.ceil(at)] ?? Number.NaN
  return low + (high - low) * (at - Math.floor(at))
}

export interface Interval {
  value: number
  low: number
  high: number
}

const RESAMPLES = 4000

/**
 * A statistic of a sample with its 95 % bootstrap interval (percentiles over resamples with replacement). The generator is seeded, so
 * that the same measurements always give the same interval.
 */
export function bootstrap(
  sample: readonly number[],
  statistic: (values: readonly number[]) => number = median,
): Interval {
  const random = mulberry32(0x5eed)
  const resampled = Array.from({ length: RESAMPLES }, () =>
    statistic(sample.map(() => sample[Math.floor(random() * sample.length)] ?? Number.NaN)),
  )
  return { value: statistic(sample), low: quantile(resampled, 0.025), high: quantile(resampled, 0.975) }
}

function mulberry32(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}
