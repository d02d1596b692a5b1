import { describe, expect, test } from 'vitest'
import { AppError } from '../core/errors.ts'
import type { JobSpec, Sandbox } from './sandbox.ts'

/** What every implementation of the Sandbox port does; `tool` is a job whose tool runs until it is stopped or for a moment. */
export interface SandboxFixture {
  sandbox: Sandbox
  /** A new job that the door knows: `long` runs until it is removed, `short` prints and ends, `lost` has a door that knows it not. */
  job(kind: 'long' | 'short' | 'lost'): JobSpec
  /** Results that the door got for the job, other than `lost`. */
  results(job: JobSpec): number
  /** How often the job's runner asked for its input. */
  starts(job: JobSpec): number
  /** The same port over a service that is not there. */
  unreachable: Sandbox
}

export function sandboxSuite(name: string, fixture: () => SandboxFixture): void {
  describe(`Sandbox: ${name}`, () => {
    const state = async (job: JobSpec): Promise<string> => (await fixture().sandbox.inspect(job.name)).state

    test('a job runs once and reports once, however often it is created', async () => {
      const { sandbox, job, results, starts } = fixture()
      const short = job('short')
      const made = await Promise.all([sandbox.create(short), sandbox.create(short), sandbox.create(short)])
      expect(made.toSorted()).toEqual(['created', 'exists', 'exists'])
      await expect.poll(() => state(short), { timeout: 20_000 }).toBe('succeeded')
      expect(await sandbox.create(short)).toBe('exists')
      expect(results(short)).toBe(1)
      expect(starts(short)).toBe(1)
    })

    test('a removed job stops, is forgotten, and reports nothing', async () => {
      const { sandbox, job, results, starts } = fixture()
      const long = job('long')
      await sandbox.create(long)
      await expect.poll(() => starts(long), { timeout: 20_000 }).toBe(1)
      await expect.poll(() => state(long), { timeout: 20_000 }).toBe('running')
      await sandbox.remove(long.name)
      expect(await state(long)).toBe('missing')
      expect(results(long)).toBe(0)
      await sandbox.remove(long.name)
    })

    test('a job that cannot do its work has failed, with a reason', async () => {
      const { sandbox, job } = fixture()
      const lost = job('lost')
      await sandbox.create(lost)
      await expect.poll(() => state(lost), { timeout: 20_000 }).toBe('failed')
      expect(await sandbox.inspect(lost.name)).toMatchObject({ reason: expect.stringMatching(/./) })
    })

    test('knows nothing of a job that was never made', async () => {
      expect(await fixture().sandbox.inspect('never-made')).toEqual({ state: 'missing' })
    })

    test('rejects as unavailable when the service does not answer', async () => {
      const { unreachable, job } = fixture()
      for (const call of [
        unreachable.create(job('short')),
        unreachable.inspect('x'),
        unreachable.remove('x'),
      ]) {
        await expect(call).rejects.toSatisfy(
          (error) => error instanceof AppError && error.code === 'unavailable',
        )
      }
    })
  })
}
