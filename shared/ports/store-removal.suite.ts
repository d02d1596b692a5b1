import { expect } from 'vitest'
import type { Principal } from './identity.ts'
import type { StoredObject } from './store.ts'
import type { StoreFixture } from './store-fixture.suite.ts'
import {
  answerCommit,
  carryOut,
  claim,
  newRun,
  plannedRun,
  read,
  refusal,
  runWithTools,
  type StoreCase,
  sha,
  someone,
  toolCommit,
  toolStep,
} from './store-kit.suite.ts'

const HOUR = 3600
const limits = { max_steps: 9, timeout_seconds: 90 }

const wrote = (letter: string) =>
  toolCommit({
    files: { put: [{ path: `outputs/${letter}`, sha256: sha(letter), size: 3, mode: 0o644 }], removed: [] },
    verified: [sha(letter)],
  })

/** A run that has ended with a file of these bytes, and its artifact. */
async function endedRun(fixture: StoreFixture, who: Principal, letter = 'a'): Promise<string> {
  const id = await runWithTools(fixture, who, [toolStep('t')], { tags: ['batch'] })
  await carryOut(fixture, id, 2, wrote(letter))
  await carryOut(fixture, id, 3, {
    ...answerCommit(),
    artifacts: [
      {
        filename: letter,
        file_path: `outputs/${letter}`,
        file_type: 'text/plain',
        file_size: 3,
        content_hash: sha(letter),
        storage_bucket: 'agent-outputs',
        storage_key: `${who.sub}/${id}/${letter}`,
        signed_url: 'https://storage.example/a',
        signed_url_expires_at: '2099-01-01T00:00:00.000Z',
      },
    ],
  })
  return id
}

const blob = (who: Principal, letter: string): StoredObject => ({
  bucket: 'agent-workspaces',
  name: `${who.sub}/${sha(letter)}`,
})

/** What is handed out for removal of this user; other cases' objects are not looked at. */
async function handedOut({ step }: StoreFixture, who: Principal): Promise<StoredObject[]> {
  const { objects_to_remove = [] } = await step.sweepDue({ limit: 200 })
  return objects_to_remove.filter(({ name }) => name.startsWith(`${who.sub}/`))
}

/** Delete, and the verbs for all runs of a tag. */
export const removalCases: readonly StoreCase[] = [
  [
    'an ended run is deleted with all that is in it, for good; what was paid stays paid',
    async (fixture) => {
      const who = someone()
      const ids = { principal: who, run_id: await endedRun(fixture, who) }
      const { run } = await read(fixture, who, ids.run_id)
      await fixture.front.issueTicket({ ...ids, ticket_sha256: sha('9'), expires_at: '2099-01-01T00:00:00Z' })
      await expect(fixture.front.deleteRun({ ...ids, principal: someone() })).rejects.toMatchObject(
        refusal('run_not_found'),
      )
      expect(await fixture.front.deleteRun(ids)).toMatchObject({ run, publications: [] })
      for (const call of [
        () => fixture.front.deleteRun(ids),
        () => read(fixture, who, ids.run_id),
        () => fixture.front.forkRun({ ...ids, from_step: 0, message: null, limits, idempotency: null }),
      ])
        await expect(call()).rejects.toMatchObject(refusal('run_not_found'))
      await expect(
        fixture.front.useTicket({ ticket_sha256: sha('9'), run_id: ids.run_id }),
      ).rejects.toMatchObject(refusal('unauthorized'))
      expect(
        await fixture.step.claimStep({ run_id: ids.run_id, step_number: 3, lease_seconds: 5 }),
      ).toMatchObject({ refused: 'unknown' })
      expect(await fixture.step.readFiles({ ...ids, paths: null, under: null, limit: 9 })).toEqual([])
    },
  ],
  [
    'a run that goes on is not deleted',
    async (fixture) => {
      const who = someone()
      const id = await plannedRun(fixture, who)
      await expect(fixture.front.deleteRun({ principal: who, run_id: id })).rejects.toMatchObject({
        ...refusal('invalid_state'),
        message: 'Cannot delete run in status: executing',
      })
      expect((await read(fixture, who, id)).run.status).toBe('executing')
    },
  ],
  [
    'a key outlives its run: a create that arrives after the delete makes nothing, until the day is over',
    async (fixture) => {
      const who = someone()
      const idempotency = { key: 'k', body_sha256: sha('b') }
      const { run } = await fixture.front.createRun(newRun(who, { idempotency }))
      await fixture.front.cancelRun({ principal: who, run_id: run.id })
      await fixture.front.deleteRun({ principal: who, run_id: run.id })
      const deleted = {
        ...refusal('idempotency_conflict'),
        message: 'The run of this Idempotency-Key was deleted: use a new key for a new run',
      }
      await expect(fixture.front.createRun(newRun(who, { idempotency }))).rejects.toMatchObject(deleted)
      await expect(
        fixture.front.prepareCreate({ principal: who, idempotency, opening_credits: 1000 }),
      ).rejects.toMatchObject(deleted)
      await fixture.advance(24 * HOUR + 1)
      const again = await fixture.front.createRun(newRun(who, { idempotency }))
      expect([again.replayed, again.run.id === run.id]).toEqual([false, false])
    },
  ],
  [
    'an attempt in flight is charged with the delete, and its holder finds nothing to write to',
    async (fixture) => {
      const who = someone()
      const id = await plannedRun(fixture, who, { opening_credits: 30 })
      const { step } = await claim(fixture, id, 1)
      await fixture.front.cancelRun({ principal: who, run_id: id })
      await fixture.front.deleteRun({ principal: who, run_id: id })
      const nothing = { committed: false, run_status: 'cancelled', publications: [], log_seq: 0 }
      expect(await fixture.step.commitStep({ ...step, commit: answerCommit() })).toMatchObject(nothing)
      expect(
        await fixture.step.releaseStep({ ...step, delay_seconds: 0, error: '', free: true }),
      ).toMatchObject(nothing)
      const park = { ...step, job_name: `run-${id}-1`, token_sha256: sha('c') }
      expect(await fixture.step.parkStep({ ...park, deadline_seconds: 9, check_seconds: 9 })).toMatchObject(
        nothing,
      )
      expect(await fixture.step.renewLease({ ...step, lease_seconds: 5 })).toMatchObject({ held: false })
      await fixture.step.settleAttempt({ ...step, tokens_used: 1, used: false })
      // 20 of 30 are left: four plans, not five
      for (let n = 0; n < 4; n++) await fixture.front.createRun(newRun(who))
      await expect(fixture.front.createRun(newRun(who))).rejects.toMatchObject(
        refusal('insufficient_credits'),
      )
    },
  ],
  [
    'bytes go when nothing refers to them any more: artifacts at once, blobs after a day and an hour',
    async (fixture) => {
      const who = someone()
      const id = await endedRun(fixture, who)
      const fork = await fixture.front.forkRun({
        principal: who,
        run_id: id,
        from_step: 3,
        message: null,
        limits,
        idempotency: null,
      })
      await fixture.front.cancelRun({ principal: who, run_id: fork.run.id })
      await fixture.front.deleteRun({ principal: who, run_id: id })
      const artifact = { bucket: 'agent-outputs', name: `${who.sub}/${id}/a` }
      expect(await handedOut(fixture, who)).toEqual([artifact])
      // not confirmed: again after a minute
      expect(await handedOut(fixture, who)).toEqual([])
      await fixture.advance(61)
      expect(await handedOut(fixture, who)).toEqual([artifact])
      await fixture.step.objectsRemoved({ objects: [artifact, blob(who, 'a')] })
      await fixture.advance(26 * HOUR)
      // the fork has the file
      expect(await handedOut(fixture, who)).toEqual([])

      await fixture.front.deleteRun({ principal: who, run_id: fork.run.id })
      expect(await handedOut(fixture, who)).toEqual([])
      await fixture.advance(25 * HOUR - 60)
      expect(await handedOut(fixture, who)).toEqual([])
      await fixture.advance(70)
      expect(await handedOut(fixture, who)).toEqual([blob(who, 'a')])
      await fixture.step.objectsRemoved({ objects: [blob(who, 'a')] })
      await fixture.advance(61)
      expect(await handedOut(fixture, who)).toEqual([])
    },
  ],
  [
    'bytes that are used again before they went stay; while they go they are refused, then taken',
    async (fixture) => {
      const who = someone()
      await fixture.front.deleteRun({ principal: who, run_id: await endedRun(fixture, who, 'a') })
      await fixture.front.deleteRun({ principal: who, run_id: await endedRun(fixture, who, 'b') })
      await fixture.advance(24 * HOUR)
      await endedRun(fixture, who, 'a')
      await fixture.advance(2 * HOUR)
      const gone = (await handedOut(fixture, who)).filter(({ bucket }) => bucket === 'agent-workspaces')
      expect(gone).toEqual([blob(who, 'b')])

      const id = await runWithTools(fixture, who, [toolStep('t')], {
        limits: { max_steps: 9, timeout_seconds: 3 * HOUR },
      })
      const { step } = await claim(fixture, id, 2, HOUR)
      const before = await read(fixture, who, id)
      const commit = () => fixture.step.commitStep({ ...step, commit: wrote('b') })
      await expect(commit()).rejects.toMatchObject(refusal('unavailable'))
      expect(await read(fixture, who, id)).toEqual(before)
      await fixture.step.objectsRemoved({ objects: gone })
      await expect(commit()).rejects.toMatchObject(refusal('unavailable'))
      await fixture.advance(11 * 60)
      await fixture.sweep()
      expect(await commit()).toMatchObject({ committed: true })
    },
  ],
  [
    'bytes that a job is about to store are kept from removal',
    async (fixture) => {
      const who = someone()
      await fixture.front.deleteRun({ principal: who, run_id: await endedRun(fixture, who, 'a') })
      await fixture.front.deleteRun({ principal: who, run_id: await endedRun(fixture, who, 'b') })
      const id = await runWithTools(fixture, who, [toolStep('t')], {
        limits: { max_steps: 50, timeout_seconds: 3 * 86_400 },
      })
      const { step } = await claim(fixture, id, 2)
      const job = { run_id: id, step_number: 2, token_sha256: sha('c') }
      await fixture.step.parkStep({
        ...step,
        ...job,
        job_name: `run-${id}-2`,
        deadline_seconds: 2 * 86_400,
        check_seconds: 60,
      })
      await fixture.step.checkJob({ ...job, sha256: sha('b') })
      await fixture.step.checkJob({ ...job, sha256: sha('a'), storing: true })
      await fixture.advance(26 * HOUR)
      const gone = (await handedOut(fixture, who)).filter(({ bucket }) => bucket === 'agent-workspaces')
      expect(gone).toEqual([blob(who, 'b')])
      await expect(fixture.step.checkJob({ ...job, sha256: sha('b'), storing: true })).rejects.toMatchObject(
        refusal('unavailable'),
      )
      // another user's bytes of the same content are his own
      const other = someone()
      await endedRun(fixture, other, 'b')
    },
  ],
  [
    'a retry or fork that would use bytes which are just being removed is refused whole',
    async (fixture) => {
      const who = someone()
      const file = { path: 'inputs/a', sha256: sha('a'), size: 3, mode: 0o644 }
      const made = await fixture.front.createRun(newRun(who, { files: [file] }))
      await fixture.front.cancelRun({ principal: who, run_id: made.run.id })
      await fixture.front.deleteRun({ principal: who, run_id: made.run.id })
      await fixture.advance(26 * HOUR)
      expect(await handedOut(fixture, who)).toEqual([blob(who, 'a')])
      await expect(fixture.front.createRun(newRun(who, { files: [file] }))).rejects.toMatchObject(
        refusal('unavailable'),
      )
      expect(
        (await fixture.front.listRuns({ principal: who, limit: 9, before: null, status: null })).runs,
      ).toEqual([])
    },
  ],
  [
    'a verb for a tag is done to the runs that it is for, of one owner, and says how each fared',
    async (fixture) => {
      const [who, other] = [someone(), someone()]
      const bulk = (verb: Parameters<typeof fixture.front.bulkRuns>[0]['verb'], tag = 'batch') =>
        fixture.front.bulkRuns({ principal: who, tag, verb, limits, opening_credits: 1000 })
      const make = async (owner: Principal, tags: string[]) =>
        (await fixture.front.createRun(newRun(owner, { tags }))).run.id
      const mine = [
        await make(who, ['batch', 'x']),
        await make(who, ['batch']),
        await make(who, ['x', 'batch']),
      ]
      const theirs = await make(other, ['batch'])
      const untagged = await make(who, ['bat'])
      const planned = mine[1] ?? ''
      const { step } = await claim(fixture, planned, 0)

      expect(await bulk('pause')).toEqual({
        results: mine.map((run_id) => ({ run_id, ok: true, status: 'paused' })),
        publications: [],
        jobs: [],
        has_more: false,
      })
      expect((await bulk('pause')).results).toEqual([])
      const resumed = await bulk('resume')
      expect(resumed.results.map((result) => result.ok && result.status)).toEqual([
        'queued',
        'planning',
        'queued',
      ])
      expect(resumed.publications.map(({ run_id }) => run_id)).toEqual([mine[0], mine[2]])
      expect((await bulk('stop')).results.map(({ run_id }) => run_id)).toEqual(mine)
      expect((await read(fixture, other, theirs)).run.status).toBe('queued')
      expect((await read(fixture, who, untagged)).run.status).toBe('queued')

      const retried = await bulk('retry')
      expect(retried.publications).toHaveLength(3)
      const fresh = retried.results.map((result) => (result.ok ? result.new_run_id : undefined))
      expect(new Set(fresh).size).toBe(3)
      for (const id of fresh) expect((await read(fixture, who, id ?? '')).run.status).toBe('queued')
      // those that were retried are not retried twice
      expect((await bulk('retry')).results).toEqual([])
      expect((await bulk('delete')).results.map(({ run_id }) => run_id)).toEqual(mine)
      expect((await fixture.step.commitStep({ ...step, commit: answerCommit() })).committed).toBe(false)
      expect((await bulk('stop', 'x')).results).toHaveLength(2)
      expect((await bulk('delete')).results).toHaveLength(2)
      await expect(bulk('forget' as 'stop')).rejects.toMatchObject(refusal('invalid_request'))
    },
  ],
  [
    'one run that a verb for a tag fails for does not stop the others',
    async (fixture) => {
      const who = someone()
      const poor = { tags: ['batch'], opening_credits: 15 }
      for (let n = 0; n < 3; n++) await fixture.front.createRun(newRun(who, poor))
      const bulk = (verb: 'stop' | 'retry') =>
        fixture.front.bulkRuns({ principal: who, tag: 'batch', verb, limits, opening_credits: 15 })
      expect((await bulk('stop')).results).toHaveLength(3)
      await fixture.front.createRun(newRun(who))
      const { results, publications } = await bulk('retry')
      expect(results.map(({ ok }) => ok)).toEqual([true, true, false])
      expect(results[2]).toMatchObject({ code: 'insufficient_credits', message: 'Insufficient credits' })
      expect(publications).toHaveLength(2)
    },
  ],
]
