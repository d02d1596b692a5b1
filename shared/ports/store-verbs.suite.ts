import { expect } from 'vitest'
import { modelStep } from '../core/steps.ts'
import {
  answerCommit,
  carryOut,
  claim,
  commitOf,
  newRun,
  planCommit,
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

const question = () =>
  commitOf({ next: { kind: 'wait_user', question: 'Which?', steps: [modelStep('decide', 1)] } })

/** Cancel, pause, resume, retry. */
export const verbCases: readonly StoreCase[] = [
  [
    'a cancelled run is final: what was reserved returns, nothing is claimed',
    async (fixture) => {
      const who = someone()
      const id = await plannedRun(fixture, who)
      const ids = { principal: who, run_id: id }
      const { run, publications, jobs } = await fixture.front.cancelRun(ids)
      expect([run.status, run.total_credits_used, publications, jobs]).toEqual(['cancelled', 5, [], []])
      expect(await fixture.step.claimStep({ run_id: id, step_number: 1, lease_seconds: 5 })).toEqual({
        refused: 'final',
        publications: [],
        jobs_to_remove: [],
      })
      const { steps, logs } = await read(fixture, who, id)
      expect(steps.map(({ status }) => status)).toEqual(['completed', 'skipped'])
      expect(logs.at(-1)).toMatchObject({ message: 'Run cancelled', metadata: { event: 'final' } })
      await expect(fixture.front.cancelRun(ids)).rejects.toMatchObject({
        ...refusal('invalid_state'),
        message: 'Cannot cancel run in status: cancelled',
      })
      for (const call of [
        () => fixture.front.pauseRun(ids),
        () => fixture.front.resumeRun({ ...ids, user_input: null }),
      ])
        await expect(call()).rejects.toMatchObject(refusal('invalid_state'))
    },
  ],
  [
    'an attempt in flight when its run is cancelled writes nothing but its own settlement, once',
    async (fixture) => {
      const who = someone()
      const id = await plannedRun(fixture, who)
      const { step } = await claim(fixture, id, 1)
      await fixture.front.cancelRun({ principal: who, run_id: id })
      expect(await fixture.step.renewLease({ ...step, lease_seconds: 60 })).toEqual({
        held: false,
        cancelled: true,
      })
      expect(await fixture.step.commitStep({ ...step, commit: answerCommit() })).toMatchObject({
        committed: false,
        run_status: 'cancelled',
      })
      expect(
        await fixture.step.releaseStep({ ...step, delay_seconds: 0, error: 'x', free: false }),
      ).toMatchObject({ committed: false })
      await fixture.step.settleAttempt({ ...step, token: crypto.randomUUID(), tokens_used: 1, used: true })
      expect((await read(fixture, who, id)).run.total_credits_used).toBe(5)
      await fixture.step.settleAttempt({ ...step, tokens_used: 7, used: true })
      await fixture.step.settleAttempt({ ...step, tokens_used: 7, used: true })
      const { run, steps } = await read(fixture, who, id)
      expect([run.total_credits_used, run.total_tokens_used, steps[1]?.status]).toEqual([10, 7, 'cancelled'])

      const second = await plannedRun(fixture, who)
      const held = await claim(fixture, second, 1)
      await fixture.front.cancelRun({ principal: who, run_id: second })
      await fixture.step.settleAttempt({ ...held.step, tokens_used: 0, used: false })
      expect((await read(fixture, who, second)).run.total_credits_used).toBe(5)
    },
  ],
  [
    'a paused run finishes what is in work, holds the rest, and goes on when resumed',
    async (fixture) => {
      const who = someone()
      const { run } = await fixture.front.createRun(newRun(who))
      const ids = { principal: who, run_id: run.id }
      const held = await claim(fixture, run.id, 0)
      expect((await fixture.front.pauseRun(ids)).run.status).toBe('paused')
      await expect(fixture.front.pauseRun(ids)).rejects.toMatchObject(refusal('invalid_state'))
      const committed = await fixture.step.commitStep({ ...held.step, commit: planCommit() })
      expect(committed).toMatchObject({ committed: true, run_status: 'paused', publications: [] })
      expect(await fixture.step.claimStep({ run_id: run.id, step_number: 1, lease_seconds: 5 })).toEqual({
        refused: 'paused',
        publications: [],
      })
      expect(await fixture.step.claimStep({ run_id: run.id, step_number: 0, lease_seconds: 5 })).toEqual({
        refused: 'done',
        publications: [],
      })
      await fixture.advance(100)
      const before = (await read(fixture, who, run.id)).run
      const resumed = await fixture.front.resumeRun({ ...ids, user_input: null })
      expect(resumed.run.status).toBe('executing')
      expect(resumed.publications).toMatchObject([{ step_number: 1, publication: 1, delay_seconds: 0 }])
      // the time of the pause does not count
      const held_ms = Date.parse(resumed.run.timeout_at ?? '') - Date.parse(before.timeout_at ?? '')
      expect(held_ms).toBeGreaterThan(99_900)
      expect(held_ms).toBeLessThan(110_000)
      await carryOut(fixture, run.id, 1, answerCommit())
      expect((await read(fixture, who, run.id)).run.status).toBe('completed')
    },
  ],
  [
    'a step given back while its run is paused waits for the resume',
    async (fixture) => {
      const who = someone()
      const id = await plannedRun(fixture, who)
      const { step } = await claim(fixture, id, 1)
      await fixture.front.pauseRun({ principal: who, run_id: id })
      expect(
        await fixture.step.releaseStep({ ...step, delay_seconds: 60, error: 'busy', free: true }),
      ).toMatchObject({ committed: true, publications: [] })
      const { publications } = await fixture.front.resumeRun({
        principal: who,
        run_id: id,
        user_input: 'hurry',
      })
      expect(publications).toMatchObject([{ step_number: 1, delay_seconds: 0 }])
      const again = await claim(fixture, id, 1)
      expect(again.step).toMatchObject({ attempt: 1, last_error: 'busy' })
      expect(again.conversation.at(-1)).toMatchObject({ role: 'user', content: 'hurry', step_number: 1 })
      expect(await fixture.step.commitStep({ ...again.step, commit: answerCommit() })).toMatchObject({
        committed: true,
      })
    },
  ],
  [
    'the last step of a paused run ends it',
    async (fixture) => {
      const who = someone()
      const id = await plannedRun(fixture, who)
      const { step } = await claim(fixture, id, 1)
      await fixture.front.pauseRun({ principal: who, run_id: id })
      expect(await fixture.step.commitStep({ ...step, commit: answerCommit() })).toMatchObject({
        run_status: 'completed',
        publications: [],
      })
    },
  ],
  [
    'a question waits for its user, holding nothing, and the answer goes to the next step',
    async (fixture) => {
      const who = someone()
      const id = await plannedRun(fixture, who)
      const ids = { principal: who, run_id: id }
      const asked = await carryOut(fixture, id, 1, question())
      expect(asked).toMatchObject({ run_status: 'waiting_user', publications: [] })
      expect(await fixture.step.claimStep({ run_id: id, step_number: 2, lease_seconds: 5 })).toMatchObject({
        refused: 'not_due',
      })
      const { logs } = await read(fixture, who, id)
      expect(
        logs.some(({ log_type, message }) => log_type === 'user_input_required' && message === 'Which?'),
      ).toBe(true)
      // paused and resumed without an answer it waits again
      await fixture.front.pauseRun(ids)
      expect(await fixture.front.resumeRun({ ...ids, user_input: null })).toMatchObject({
        run: { status: 'waiting_user' },
        publications: [],
      })
      const answered = await fixture.front.resumeRun({ ...ids, user_input: 'the red one' })
      expect(answered).toMatchObject({
        run: { status: 'executing' },
        publications: [{ step_number: 2, publication: 1, delay_seconds: 0 }],
      })
      const { conversation } = await claim(fixture, id, 2)
      expect(conversation.at(-1)).toMatchObject({ role: 'user', content: 'the red one' })
    },
  ],
  [
    'a question asked of a paused run waits below the pause; an answer ends both, silence is a word',
    async (fixture) => {
      const who = someone()
      for (const [user_input, said] of [
        ['yes', 'yes'],
        [null, undefined],
      ] as const) {
        const id = await plannedRun(fixture, who)
        const ids = { principal: who, run_id: id }
        const { step } = await claim(fixture, id, 1)
        await fixture.front.pauseRun(ids)
        expect(await fixture.step.commitStep({ ...step, commit: question() })).toMatchObject({
          run_status: 'paused',
        })
        const { run } = await fixture.front.resumeRun({ ...ids, user_input })
        expect(run.status).toBe(said === undefined ? 'waiting_user' : 'executing')
        if (said === undefined)
          expect((await fixture.front.resumeRun({ ...ids, user_input: null })).run.status).toBe('executing')
        expect((await claim(fixture, id, 2)).conversation.at(-1)?.content).toBe(said ?? 'Please continue.')
      }
    },
  ],
  [
    'a pause lasts its own time only, however often it is resumed to a question',
    async (fixture) => {
      const who = someone()
      const id = await plannedRun(fixture, who)
      const ids = { principal: who, run_id: id }
      const before = (await read(fixture, who, id)).run
      await carryOut(fixture, id, 1, question())
      for (let n = 0; n < 3; n++) {
        await fixture.advance(100)
        await fixture.front.pauseRun(ids)
        await fixture.front.resumeRun({ ...ids, user_input: null })
      }
      const { run } = await fixture.front.resumeRun({ ...ids, user_input: 'now' })
      const shift = Date.parse(before.created_at) - Date.parse(run.created_at)
      const added = Date.parse(run.timeout_at ?? '') - Date.parse(before.timeout_at ?? '') + shift
      expect(added).toBeGreaterThan(299_900)
      expect(added).toBeLessThan(320_000)
    },
  ],
  [
    'an ended run is retried as a new one with the same request and the files that came with it',
    async (fixture) => {
      const who = someone()
      const file = { path: 'inputs/a', sha256: sha('a'), size: 3, mode: 0o644 }
      const id = await runWithTools(fixture, who, [toolStep('t')], {
        files: [file],
        prompt: 'again',
        tags: ['x'],
        connector_ids: ['c'],
        metadata: { m: 1 },
        memory_context: 'I like red',
        attachments: [{ path: 'inputs/a', name: 'a', bucket: 'b', size: 3 }],
      })
      await carryOut(
        fixture,
        id,
        2,
        toolCommit({ files: { put: [{ ...file, path: 'outputs/b' }], removed: [] } }),
      )
      const retry = {
        principal: who,
        run_id: id,
        limits: { max_steps: 9, timeout_seconds: 90 },
        opening_credits: 1,
        idempotency: { key: 'r', body_sha256: sha('d') },
      }
      await expect(fixture.front.retryRun(retry)).rejects.toMatchObject(refusal('invalid_state'))
      await fixture.front.cancelRun({ principal: who, run_id: id })
      const { run, publications, replayed } = await fixture.front.retryRun(retry)
      expect(replayed).toBe(false)
      expect(publications).toHaveLength(1)
      expect(run).toMatchObject({
        status: 'queued',
        prompt: 'again',
        tags: ['x'],
        metadata: { m: 1, retry_of: id },
      })
      expect(await fixture.front.retryRun(retry)).toMatchObject({ replayed: true, run: { id: run.id } })
      const { run: claimed, conversation, workspace } = await claim(fixture, run.id, 0)
      expect(claimed).toMatchObject({ memory_context: 'I like red', limits: retry.limits })
      expect(conversation).toMatchObject([{ content: 'again', attachments: [{ path: 'inputs/a' }] }])
      expect(workspace).toEqual({ files: 1, bytes: 3, complete: true, entries: [file] })
    },
  ],
]
