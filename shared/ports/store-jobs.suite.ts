import { expect } from 'vitest'
import type { StoreFixture } from './store-fixture.suite.ts'
import {
  carryOut,
  claim,
  commitOf,
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

const TOKEN = sha('7')

/** A run whose step 2 is parked for a job of its own name. */
async function parked(fixture: StoreFixture, who = someone()) {
  const id = await runWithTools(fixture, who, [toolStep('call')])
  const held = await claim(fixture, id, 2)
  const park = { job_name: `run-${id}-2`, token_sha256: TOKEN, deadline_seconds: 100, check_seconds: 10 }
  const answer = await fixture.step.parkStep({ ...held.step, ...park })
  expect(answer).toMatchObject({ committed: true, run_status: 'executing', publications: [] })
  return { id, who, held, park, job: { run_id: id, step_number: 2, token_sha256: TOKEN } }
}

/** Parked steps and the door's questions. */
export const jobCases: readonly StoreCase[] = [
  [
    'a job starts, asks, and ends once; the same end again gets the first answer, another one none',
    async (fixture) => {
      const { id, who, job } = await parked(fixture)
      const started = await fixture.step.startJob(job)
      expect(started).toMatchObject({
        tool_name: 'shell',
        tool_input: { command: 'ls' },
        run_id: id,
        user_id: who.sub,
        idempotency_key: `${id}:2`,
        files: [],
      })
      expect(await fixture.step.startJob(job)).toEqual(started)
      expect(await fixture.step.checkJob(job)).toMatchObject({
        user_id: who.sub,
        cancelled: false,
        owned: false,
      })
      const end = { ...job, body_sha256: sha('1'), commit: toolCommit() }
      const first = await fixture.step.finishJob(end)
      expect(first).toMatchObject({ committed: true, publications: [{ step_number: 3, publication: 0 }] })
      expect(await fixture.step.finishJob(end)).toEqual(first)
      await expect(fixture.step.finishJob({ ...end, body_sha256: sha('2') })).rejects.toMatchObject(
        refusal('already_answered'),
      )
      await expect(fixture.step.startJob(job)).rejects.toMatchObject(refusal('already_answered'))
      expect(await fixture.step.checkJob(job)).toMatchObject({ cancelled: true })
      const { conversation } = await claim(fixture, id, 3)
      expect(conversation.at(-1)).toMatchObject({ role: 'tool', tool_call_id: 'call', tool_name: 'shell' })
      expect(await fixture.step.finishJob(end)).toMatchObject({ committed: true, publications: [] })
    },
  ],
  [
    'a job that is not awaited yet comes later; a stranger is nobody',
    async (fixture) => {
      const who = someone()
      const id = await runWithTools(fixture, who, [toolStep('call')])
      const job = { run_id: id, step_number: 2, token_sha256: TOKEN }
      const end = { body_sha256: sha('1'), commit: toolCommit() }
      await expect(fixture.step.startJob(job)).rejects.toMatchObject(refusal('not_ready'))
      await expect(fixture.step.finishJob({ ...job, ...end })).rejects.toMatchObject(refusal('not_ready'))
      await expect(fixture.step.checkJob(job)).rejects.toMatchObject(refusal('unauthorized'))
      const waiting = await parked(fixture, who)
      for (const wrong of [
        { ...waiting.job, token_sha256: sha('8') },
        { ...waiting.job, step_number: 1 },
        { ...waiting.job, step_number: 9 },
        { ...waiting.job, run_id: crypto.randomUUID() },
      ]) {
        await expect(fixture.step.startJob(wrong)).rejects.toMatchObject(refusal('unauthorized'))
        await expect(fixture.step.finishJob({ ...wrong, ...end })).rejects.toMatchObject(
          refusal('unauthorized'),
        )
        await expect(fixture.step.checkJob(wrong)).rejects.toMatchObject(refusal('unauthorized'))
      }
    },
  ],
  [
    'a parked step is looked at when its check is due, without using up attempts, and keeps its deadline',
    async (fixture) => {
      const { id, held, park } = await parked(fixture)
      const ask = { run_id: id, step_number: 2, lease_seconds: 60 }
      expect(await fixture.step.claimStep(ask)).toMatchObject({ refused: 'not_due' })
      expect(await fixture.step.commitStep({ ...held.step, commit: toolCommit() })).toMatchObject({
        committed: false,
      })
      await fixture.advance(10)
      const check = await claim(fixture, id, 2)
      expect(check.step).toMatchObject({
        attempt: 1,
        fence: 2,
        job: { name: park.job_name, confirmed: false, past_deadline: false },
      })
      await fixture.step.parkStep({ ...check.step, ...park, token_sha256: '', deadline_seconds: 9999 })
      await fixture.step.startJob({ run_id: id, step_number: 2, token_sha256: TOKEN })
      // its runner has called: the next look is at the deadline
      await fixture.advance(50)
      expect(await fixture.step.claimStep(ask)).toMatchObject({ refused: 'not_due' })
      await fixture.advance(50)
      const late = await claim(fixture, id, 2)
      expect(late.step).toMatchObject({ attempt: 1, job: { confirmed: true, past_deadline: true } })
      expect(
        await fixture.step.commitStep({ ...late.step, commit: toolCommit({ status: 'failed' }) }),
      ).toMatchObject({
        committed: true,
      })
      await expect(
        fixture.step.finishJob({
          run_id: id,
          step_number: 2,
          token_sha256: TOKEN,
          body_sha256: sha('1'),
          commit: toolCommit(),
        }),
      ).rejects.toMatchObject(refusal('already_answered'))
    },
  ],
  [
    'cancel hands over the jobs that are out; whoever finds the run ended removes them, once',
    async (fixture) => {
      const { id, who, job, park } = await parked(fixture)
      await fixture.step.startJob(job)
      const { jobs, publications } = await fixture.front.cancelRun({ principal: who, run_id: id })
      expect(jobs).toEqual([park.job_name])
      expect(publications).toMatchObject([{ step_number: 2, publication: 2, delay_seconds: 0 }])
      expect(await fixture.step.claimStep({ run_id: id, step_number: 2, lease_seconds: 5 })).toEqual({
        refused: 'final',
        publications: [],
        jobs_to_remove: [park.job_name],
      })
      expect((await fixture.step.sweepDue({ limit: 200 })).jobs_to_remove).not.toContain(park.job_name)
      expect(await fixture.step.checkJob(job)).toMatchObject({ cancelled: true })
      await expect(
        fixture.step.finishJob({ ...job, body_sha256: sha('1'), commit: toolCommit() }),
      ).rejects.toMatchObject(refusal('already_answered'))
      // a job that is out has been used
      expect((await read(fixture, who, id)).run.total_credits_used).toBe(11)
    },
  ],
  [
    'a job goes on while its run is paused, and its end waits for the resume',
    async (fixture) => {
      const { id, who, job } = await parked(fixture)
      const ids = { principal: who, run_id: id }
      await fixture.front.pauseRun(ids)
      await fixture.step.startJob(job)
      const end = await fixture.step.finishJob({ ...job, body_sha256: sha('1'), commit: toolCommit() })
      expect(end).toMatchObject({ committed: true, run_status: 'paused', publications: [] })
      expect(await fixture.step.claimStep({ run_id: id, step_number: 3, lease_seconds: 5 })).toMatchObject({
        refused: 'paused',
      })
      expect((await fixture.front.resumeRun({ ...ids, user_input: null })).publications).toMatchObject([
        { step_number: 3 },
      ])
    },
  ],
  [
    'a file that is or was of the run is its own, one of another run is not',
    async (fixture) => {
      const who = someone()
      const file = { path: 'inputs/a', sha256: sha('a'), size: 1, mode: 0o644 }
      const id = await plannedRun(fixture, who, { files: [file] })
      await carryOut(
        fixture,
        id,
        1,
        commitOf({ next: { kind: 'steps', steps: [toolStep('x'), toolStep('y')] } }),
      )
      await carryOut(fixture, id, 2, toolCommit({ files: { put: [], removed: ['inputs/a'] } }))
      const held = await claim(fixture, id, 3)
      const park = { job_name: `run-${id}-3`, token_sha256: TOKEN, deadline_seconds: 100, check_seconds: 10 }
      await fixture.step.parkStep({ ...held.step, ...park })
      const job = { run_id: id, step_number: 3, token_sha256: TOKEN }
      expect(await fixture.step.checkJob({ ...job, sha256: sha('a') })).toMatchObject({ owned: true })
      expect(await fixture.step.checkJob({ ...job, sha256: sha('b') })).toMatchObject({ owned: false })
      const end = { ...job, body_sha256: sha('1') }
      const files = { put: [{ ...file, path: 'b', sha256: sha('b') }], removed: [] }
      await expect(fixture.step.finishJob({ ...end, commit: toolCommit({ files }) })).rejects.toMatchObject(
        refusal('invalid_request'),
      )
      // the refusal left the job awaited
      const commit = toolCommit({ files, verified: [sha('b')] })
      expect(await fixture.step.finishJob({ ...end, commit })).toMatchObject({ committed: true })
    },
  ],
]
