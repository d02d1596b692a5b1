import { randomUUID } from 'node:crypto'
import { expect } from 'vitest'
import { newRun, refusal, type StoreCase, sha, someone } from './store-kit.suite.ts'

const LIMITS = { max_steps: 50, timeout_seconds: 600 }
const tooMany = { ...refusal('too_many_runs'), status: 429, retryAfterSeconds: 30 }

/** How many runs may be open, and what is refused before files are read. */
export const limitCases: readonly StoreCase[] = [
  [
    'a user may have so many runs that have not ended, by create and by retry',
    async ({ front }) => {
      const who = someone()
      const limits = { ...LIMITS, max_open_runs_per_user: 2 }
      const first = await front.createRun(newRun(who, { limits }))
      await front.cancelRun({ principal: who, run_id: first.run.id })
      // one that was not started counts too
      await front.createRun(newRun(who, { limits, auto_start: false }))
      const second = await front.createRun(
        newRun(who, { limits, idempotency: { key: 'second', body_sha256: sha('b') } }),
      )
      await expect(front.createRun(newRun(who, { limits }))).rejects.toMatchObject({
        ...tooMany,
        message:
          'You have 2 runs that have not ended, which is the most that are allowed: wait until one ends, or stop one',
      })
      const retry = () =>
        front.retryRun({
          principal: who,
          run_id: first.run.id,
          limits,
          opening_credits: 1000,
          idempotency: null,
        })
      await expect(retry()).rejects.toMatchObject(tooMany)
      // a repeat makes no run, and others have places of their own
      expect(
        await front.createRun(newRun(who, { limits, idempotency: { key: 'second', body_sha256: sha('b') } })),
      ).toMatchObject({ replayed: true, run: { id: second.run.id } })
      await front.createRun(newRun(someone(), { limits }))
      expect(
        (await front.listRuns({ principal: who, limit: 10, before: null, status: null })).runs,
      ).toHaveLength(3)
      const fork = { principal: who, run_id: first.run.id, from_step: 0, message: null }
      await expect(front.forkRun({ ...fork, limits, idempotency: null })).rejects.toMatchObject(tooMany)
      await front.cancelRun({ principal: who, run_id: second.run.id })
      expect((await retry()).run.status).toBe('queued')
    },
  ],
  [
    'a verb for a tag makes runs while there are places, and says which found none',
    async ({ front }) => {
      const who = someone()
      const limits = { ...LIMITS, max_open_runs_per_user: 2 }
      const bulk = (verb: 'stop' | 'retry') =>
        front.bulkRuns({ principal: who, tag: 't', verb, limits, opening_credits: 1000 })
      for (let n = 0; n < 3; n++) await front.createRun(newRun(who, { tags: ['t'] }))
      await bulk('stop')
      const { results } = await bulk('retry')
      expect(results.map((result) => (result.ok ? 'made' : result.code))).toEqual([
        'made',
        'made',
        'too_many_runs',
      ])
    },
  ],
  [
    'the users of a tenant share its places',
    async ({ front }) => {
      const tenant_id = randomUUID()
      const limits = { ...LIMITS, max_open_runs_per_user: 5, max_open_runs_per_tenant: 2 }
      const [ann, ben] = [someone({ tenant_id }), someone({ tenant_id })]
      const { run } = await front.createRun(newRun(ann, { limits }))
      await front.createRun(newRun(ben, { limits }))
      for (const who of [ann, ben])
        await expect(front.createRun(newRun(who, { limits }))).rejects.toMatchObject({
          ...tooMany,
          message: expect.stringContaining('Your organisation has 2 runs'),
        })
      // who has no tenant is bound by the user's number only
      const alone = someone()
      for (let n = 0; n < 3; n++) await front.createRun(newRun(alone, { limits }))
      await front.cancelRun({ principal: ann, run_id: run.id })
      await front.createRun(newRun(ben, { limits }))
    },
  ],
  [
    'creates at once get the places there are, and no more',
    async ({ front }) => {
      const tenant_id = randomUUID()
      const who = someone({ tenant_id })
      // the principal is known: only the places are fought for
      await front.prepareCreate({ principal: who, idempotency: null, opening_credits: 1000 })
      const limits = { ...LIMITS, max_open_runs_per_user: 3, max_open_runs_per_tenant: 3 }
      const made = await Promise.allSettled(
        Array.from({ length: 8 }, (_, n) =>
          front.createRun(newRun(who, { limits, auto_start: n % 2 === 0 })),
        ),
      )
      expect(made.filter(({ status }) => status === 'fulfilled')).toHaveLength(3)
      for (const one of made) if (one.status === 'rejected') expect(one.reason).toMatchObject(tooMany)
    },
  ],
  [
    'what a create would be refused for is known before its files are read',
    async ({ front }) => {
      const who = someone()
      const limits = { ...LIMITS, max_open_runs_per_user: 1 }
      const idempotency = { key: 'k', body_sha256: sha('a') }
      const prepare = (opening_credits: number, auto_start = true, principal = who) =>
        front.prepareCreate({ principal, idempotency, opening_credits, checks: { limits, auto_start } })
      // somebody else's credits are of no use
      await front.createRun(newRun(someone()))
      await expect(prepare(4)).rejects.toMatchObject({ ...refusal('insufficient_credits'), status: 402 })
      // what is not started costs nothing yet; and a refusal opens no account
      expect((await prepare(4, false, someone())).replay).toBeNull()
      expect((await prepare(6, false)).replay).toBeNull()
      expect((await prepare(4)).replay).toBeNull()
      const { run } = await front.createRun(newRun(who, { limits, idempotency }))
      expect((await prepare(6)).replay?.run.id).toBe(run.id)
      await expect(
        front.prepareCreate({
          principal: who,
          idempotency: null,
          opening_credits: 6,
          checks: { limits, auto_start: true },
        }),
      ).rejects.toMatchObject(tooMany)
    },
  ],
]
