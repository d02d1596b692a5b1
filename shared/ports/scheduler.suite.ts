import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { AppError } from '../core/errors.ts'
import type { Publication, Scheduler } from './scheduler.ts'

export interface SchedulerUnderTest {
  scheduler: Scheduler
  /** Waits until n messages arrived (or 4 s), lets stragglers come, and answers the bodies in order of arrival. */
  arrived(count: number): Promise<unknown[]>
  /** Publishing fails from now on. */
  breakDown(): Promise<void>
  close(): Promise<void>
}

/** What every scheduler has to do. A factory is asked for a fresh one for each test. */
export function schedulerSuite(name: string, create: () => Promise<SchedulerUnderTest>): void {
  describe(`scheduler port: ${name}`, () => {
    let subject: SchedulerUnderTest
    let run_id: string
    const publication = (given: Partial<Publication> = {}): Publication => ({
      run_id,
      step_number: 0,
      epoch: 0,
      publication: 0,
      delay_seconds: 0,
      ...given,
    })
    beforeEach(async () => {
      run_id = randomUUID()
      subject = await create()
    })
    afterEach(async () => {
      await subject.close()
    })

    test('delivers run and step and nothing else', async () => {
      await subject.scheduler.publish([publication({ step_number: 3, epoch: 2, publication: 7 })])
      expect(await subject.arrived(1)).toEqual([{ run_id, step_number: 3 }])
    })

    test('delivers every one of many, over the size of a batch too', async () => {
      const many = Array.from({ length: 205 }, (_, step_number) => publication({ step_number }))
      await subject.scheduler.publish(many)
      const steps = (await subject.arrived(205)).map((body) => (body as { step_number: number }).step_number)
      expect(steps.sort((a, b) => a - b)).toEqual(many.map((one) => one.step_number))
    })

    test('publishing nothing is fine', async () => {
      await subject.scheduler.publish([])
      expect(await subject.arrived(0)).toEqual([])
    })

    test('a repeat of the same publication is absorbed, alone and among others', async () => {
      await subject.scheduler.publish([publication()])
      await subject.scheduler.publish([publication()])
      await subject.scheduler.publish([publication(), publication({ step_number: 1 })])
      expect((await subject.arrived(2)).length).toBe(2)
    })

    test('a raised publication, epoch or step is delivered', async () => {
      await subject.scheduler.publish([publication()])
      await subject.scheduler.publish([publication({ publication: 1 })])
      await subject.scheduler.publish([publication({ epoch: 1 })])
      // Would be the same id if the parts were joined without a separator.
      await subject.scheduler.publish([
        publication({ step_number: 1, epoch: 11 }),
        publication({ step_number: 11, epoch: 1 }),
      ])
      expect((await subject.arrived(5)).length).toBe(5)
    })

    test('rejects with unavailable when it is not known whether it was accepted', async () => {
      await subject.breakDown()
      const one = await subject.scheduler.publish([publication()]).catch((error: unknown) => error)
      expect(one).toBeInstanceOf(AppError)
      expect((one as AppError).code).toBe('unavailable')
      const two = subject.scheduler.publish([publication(), publication({ step_number: 1 })])
      await expect(two).rejects.toMatchObject({ code: 'unavailable' })
    })
  })
}
