import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { schedulerSuite } from '../../ports/scheduler.suite.ts'
import { createMemoryScheduler } from './scheduler.ts'

schedulerSuite('in memory', async () => {
  const scheduler = createMemoryScheduler()
  return {
    scheduler,
    arrived: () =>
      Promise.resolve(scheduler.published.map(({ run_id, step_number }) => ({ run_id, step_number }))),
    breakDown: () => Promise.resolve(scheduler.failNext(1000)),
    close: () => Promise.resolve(),
  }
})

const publication = () => ({
  run_id: randomUUID(),
  step_number: 0,
  epoch: 0,
  publication: 0,
  delay_seconds: 0,
})

test('forgets a deduplication id after its window', async () => {
  let nowMs = 0
  const scheduler = createMemoryScheduler({ now: () => nowMs })
  const one = publication()
  await scheduler.publish([one])
  nowMs = 599_999
  await scheduler.publish([one])
  expect(scheduler.published.length).toBe(1)
  nowMs = 600_001
  await scheduler.publish([one])
  expect(scheduler.published.length).toBe(2)
})

test('can accept and lose only the answer', async () => {
  const scheduler = createMemoryScheduler()
  const one = publication()
  scheduler.failNext(1, { accepting: true })
  await expect(scheduler.publish([one])).rejects.toMatchObject({ code: 'unavailable' })
  await scheduler.publish([one])
  expect(scheduler.published).toEqual([one])
  expect(scheduler.deduplicated).toEqual([one])
})
