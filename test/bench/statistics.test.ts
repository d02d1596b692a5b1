import { expect, it } from 'vitest'
import { compare } from '../../bench/pairs.ts'
import { bootstrap, quantile } from '../../bench/statistics.ts'

it('takes quantiles between ranks', () => {
  expect(quantile([4, 1, 3, 2], 0.5)).toBe(2.5)
  expect(quantile([1, 2, 3, 4, 5], 0.95)).toBeCloseTo(4.8)
  expect(() => quantile([], 0.5)).toThrow()
})

it('gives an interval that holds the value, is the same every time and narrows with the sample', () => {
  const sample = (count: number) => Array.from({ length: count }, (_, n) => 1 + ((n * 7919) % 100) / 100)
  const small = bootstrap(sample(10))
  const large = bootstrap(sample(1000))
  expect(bootstrap(sample(10))).toEqual(small)
  expect(small.low).toBeLessThanOrEqual(small.value)
  expect(small.high).toBeGreaterThanOrEqual(small.value)
  expect(large.high - large.low).toBeLessThan(small.high - small.low)
})

it('compares in turns with changing order, so that a machine that slows down does not tilt the ratio', async () => {
  let clock = 0
  const order: string[] = []
  const measure = (name: string, cost: number) => async () => {
    order.push(name)
    clock += 1
    return cost * (1 + clock / 10)
  }
  const { ratio, pairs } = await compare(20, measure('floor', 1), measure('candidate', 2))
  expect(pairs).toBe(20)
  expect(order.slice(0, 6)).toEqual(['candidate', 'floor', 'floor', 'candidate', 'candidate', 'floor'])
  expect(ratio.low).toBeLessThan(2)
  expect(ratio.high).toBeGreaterThan(2)
  expect(ratio.value).toBeCloseTo(2, 1)
})
