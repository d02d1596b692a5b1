import { expect } from 'vitest'
import { modelStep } from '../core/steps.ts'
import type { Principal } from './identity.ts'
import type { StepCommit } from './store.ts'
import type { StoreFixture } from './store-fixture.suite.ts'
import {
  answerCommit,
  carryOut,
  claim,
  commitOf,
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

const limits = { max_steps: 9, timeout_seconds: 90 }
const terms = { limits, idempotency: null }

const wrote = (path: string, letter: string): Partial<StepCommit> => ({
  files: { put: [{ path, sha256: sha(letter), size: 3, mode: 0o644 }], removed: [] },
  verified: [sha(letter)],
})
const said = (content: string) => ({
  id: null,
  role: 'assistant' as const,
  content,
  tool_call_id: null,
  tool_name: null,
  is_error: false,
  blocks: null,
})
const failed: Partial<StepCommit> = { status: 'failed', error_code: 'X', error_message: 'it broke' }
const standing = async ({ step }: StoreFixture, run_id: string) =>
  (await step.readFiles({ run_id, paths: null, under: null, limit: 99 })).map(
    ({ path, sha256 }) => path + sha256[0],
  )

/** Plan, decide, one tool that wrote `outputs/a`, decide, an answer. */
async function endedRun(fixture: StoreFixture, who: Principal): Promise<string> {
  const id = await runWithTools(fixture, who, [toolStep('t')], {
    prompt: 'first',
    tags: ['forks'],
    metadata: { retry_of: 'gone', m: 1 },
  })
  await carryOut(fixture, id, 2, toolCommit(wrote('outputs/a', 'a')))
  await carryOut(fixture, id, 3, { ...answerCommit(), messages: [said('The answer.')] })
  return id
}

/** Fork, and retry of a step. */
export const forkCases: readonly StoreCase[] = [
  [
    'a fork shares what was before its step, pays for what it does itself, and leaves its source alone',
    async (fixture) => {
      const who = someone()
      const id = await endedRun(fixture, who)
      const source = await read(fixture, who, id)
      const { run, publications, replayed } = await fixture.front.forkRun({
        principal: who,
        run_id: id,
        from_step: 3,
        message: null,
        ...terms,
      })
      expect([replayed, publications.map(({ step_number }) => step_number)]).toEqual([false, [3]])
      expect(run).toMatchObject({
        status: 'executing',
        plan: source.run.plan,
        plan_version: 1,
        estimated_credits: source.run.estimated_credits,
        current_phase: 1,
        total_steps: 4,
        completed_steps: 3,
        failed_steps: 0,
        total_credits_used: 0,
        total_tokens_used: 0,
        started_at: null,
        completed_at: null,
        tags: ['forks'],
        metadata: { m: 1, fork_of: id, fork_step: 3 },
      })
      const copy = await read(fixture, who, run.id)
      const row = ({ steps }: typeof copy) =>
        steps
          .slice(0, 3)
          .map(({ step_number, tool_name, tool_input, status, tool_output, completed_at }) => [
            step_number,
            tool_name,
            tool_input,
            status,
            tool_output,
            completed_at === null,
          ])
      expect(row(copy)).toEqual(row(source))
      expect(copy.steps.map(({ credits_used, metadata }) => [credits_used, metadata['copy_of']])).toEqual([
        ...source.steps.slice(0, 3).map(({ id: of }) => [0, of]),
        [0, undefined],
      ])
      expect(copy.messages.map(({ role, content }) => [role, content])).toEqual(
        source.messages.slice(0, -1).map(({ role, content }) => [role, content]),
      )
      // a message names the step of its own run
      const own = new Set(copy.steps.map((step) => step.id))
      for (const { step_id } of copy.messages) expect(step_id === null || own.has(step_id)).toBe(true)
      expect(copy.artifacts).toEqual([])
      expect(copy.logs.map(({ message }) => message)).toEqual([
        'Run is executing',
        `Forked at step 3 of run ${id}`,
      ])
      expect(await standing(fixture, run.id)).toEqual(['outputs/aa'])

      const held = await claim(fixture, run.id, 3)
      expect(held.run).toMatchObject({ limits, next_step: 4 })
      expect(held.messages).toBe(copy.messages.length)
      await fixture.step.commitStep({ ...held.step, commit: answerCommit() })
      expect((await read(fixture, who, run.id)).run).toMatchObject({
        status: 'completed',
        total_credits_used: 5,
      })
      expect(await read(fixture, who, id)).toEqual(source)
    },
  ],
  [
    'the limit of a fork is for the steps that it takes itself',
    async (fixture) => {
      const who = someone()
      const id = await endedRun(fixture, who)
      const { run } = await fixture.front.forkRun({
        principal: who,
        run_id: id,
        from_step: 3,
        message: null,
        limits: { max_steps: 2, timeout_seconds: 90 },
        idempotency: null,
      })
      const next = { kind: 'steps' as const, steps: [toolStep('u')] }
      expect(await carryOut(fixture, run.id, 3, commitOf({ next }))).toMatchObject({
        run_status: 'executing',
      })
      expect(await carryOut(fixture, run.id, 4, toolCommit())).toMatchObject({ run_status: 'failed' })
      expect((await read(fixture, who, run.id)).run.error_code).toBe('STEP_LIMIT')
    },
  ],
  [
    'an edited message stands before the step, in the place of one there; at the first step it is the prompt',
    async (fixture) => {
      const who = someone()
      const id = await plannedRun(fixture, who, { prompt: 'first' })
      await carryOut(
        fixture,
        id,
        1,
        commitOf({ next: { kind: 'wait_user', question: 'Which?', steps: [modelStep('decide', 1)] } }),
      )
      const at = (from_step: number, message: string | null) =>
        fixture.front.forkRun({ principal: who, run_id: id, from_step, message, ...terms })
      for (const silence of [null, ''])
        await expect(at(2, silence)).rejects.toMatchObject(refusal('invalid_state'))
      const early = await at(2, 'blue')
      expect(early.run.status).toBe('executing')
      await fixture.front.resumeRun({ principal: who, run_id: id, user_input: 'red' })
      const said = async (run_id: string) =>
        (await read(fixture, who, run_id)).messages.map(({ role, content }) => [role, content])
      for (const [fork, answer] of [
        [early, 'blue'],
        [await at(2, 'green'), 'green'],
        [await at(2, null), 'red'],
      ] as const)
        expect(await said(fork.run.id)).toEqual([
          ['user', 'first'],
          ['user', answer],
        ])
      const anew = await at(0, 'second')
      expect(anew.run).toMatchObject({ status: 'queued', prompt: 'second', plan: null, total_steps: 1 })
      expect(await said(anew.run.id)).toEqual([['user', 'second']])
      expect((await at(0, null)).run.prompt).toBe('first')
    },
  ],
  [
    'at a member of a group that member and those after it are done anew, over the files that stood',
    async (fixture) => {
      const who = someone()
      const tools = ['a', 'b', 'c'].map((call) => toolStep(call))
      const id = await runWithTools(fixture, who, tools)
      await carryOut(fixture, id, 2, toolCommit(wrote('p', '1')))
      // the last member commits before the one in the middle, and both write one file
      await carryOut(fixture, id, 4, toolCommit(wrote('p', '3')))
      await carryOut(fixture, id, 3, toolCommit({ ...failed, ...wrote('p', '2') }))
      await carryOut(fixture, id, 5, answerCommit())
      for (const [from_step, files, due] of [
        [2, [], [2, 3, 4]],
        [3, ['p1'], [3, 4]],
        [4, ['p2'], [4]],
        [5, ['p2'], [5]],
      ] as const) {
        const fork = await fixture.front.forkRun({
          principal: who,
          run_id: id,
          from_step,
          message: null,
          ...terms,
        })
        expect(fork.publications.map(({ step_number }) => step_number)).toEqual(due)
        expect(await standing(fixture, fork.run.id)).toEqual(files)
        expect((await read(fixture, who, fork.run.id)).run.failed_steps).toBe(Number(from_step > 3))
      }
      await expect(
        fixture.front.forkRun({ principal: who, run_id: id, from_step: 3, message: 'x', ...terms }),
      ).rejects.toMatchObject(refusal('invalid_request'))

      const retried = await fixture.front.retryStep({ principal: who, run_id: id, step_number: 3, ...terms })
      expect(retried).toMatchObject({ forked: true, replayed: false, run: { completed_steps: 3 } })
      await carryOut(fixture, retried.run.id, 4, toolCommit())
      expect(await carryOut(fixture, retried.run.id, 3, toolCommit())).toMatchObject({
        publications: [{ step_number: 5 }],
      })
    },
  ],
  [
    'what a fork does anew is paid, also where its source had it from elsewhere',
    async (fixture) => {
      const who = someone()
      const id = await endedRun(fixture, who)
      const fork = async (run_id: string, from_step: number) =>
        (await fixture.front.forkRun({ principal: who, run_id, from_step, message: null, ...terms })).run.id
      const second = await fork(await fork(id, 3), 1)
      await carryOut(fixture, second, 1, answerCommit())
      expect((await read(fixture, who, second)).run.total_credits_used).toBe(5)
    },
  ],
  [
    'a fork is refused whole: unknown step, unfinished step before, stranger, too little credit; a key makes one',
    async (fixture) => {
      const who = someone()
      const id = await runWithTools(fixture, who, [toolStep('a'), toolStep('b')], { opening_credits: 20 })
      const fork = (from_step: number, fields = {}) =>
        fixture.front.forkRun({ principal: who, run_id: id, from_step, message: null, ...terms, ...fields })
      await expect(fork(9)).rejects.toMatchObject(refusal('invalid_request'))
      await expect(fork(3)).rejects.toMatchObject(refusal('invalid_state'))
      await expect(fork(1, { principal: someone() })).rejects.toMatchObject(refusal('run_not_found'))
      const idempotency = { key: 'fork', body_sha256: sha('d') }
      const first = await fork(1, { idempotency })
      expect(await fork(1, { idempotency })).toMatchObject({ replayed: true, run: { id: first.run.id } })
      await expect(fork(1, { idempotency: { ...idempotency, body_sha256: sha('e') } })).rejects.toMatchObject(
        refusal('idempotency_conflict'),
      )
      // of 20 credits 5 and 5 and 1 and 1 are taken, and 5 by the fork
      await expect(fork(0)).rejects.toMatchObject(refusal('insufficient_credits'))
      expect(
        (await fixture.front.listRuns({ principal: who, limit: 9, before: null, status: null })).runs,
      ).toHaveLength(2)
    },
  ],
  [
    'a step is retried in place while an attempt has failed and the next is waited for',
    async (fixture) => {
      const who = someone()
      const id = await plannedRun(fixture, who)
      const retry = { principal: who, run_id: id, step_number: 1, ...terms }
      // nothing has failed; in work
      await expect(fixture.front.retryStep(retry)).rejects.toMatchObject(refusal('invalid_state'))
      for (let n = 0; n < 5; n++) {
        const { step } = await claim(fixture, id, 1)
        await expect(fixture.front.retryStep(retry)).rejects.toMatchObject(refusal('invalid_state'))
        await fixture.step.releaseStep({
          ...step,
          delay_seconds: n === 4 ? 300 : 0,
          error: 'busy',
          free: false,
        })
      }
      const { run, publications, forked } = await fixture.front.retryStep(retry)
      expect([run.id, forked, publications.length]).toEqual([id, false, 1])
      expect(publications[0]).toMatchObject({ step_number: 1, delay_seconds: 0 })
      expect((await claim(fixture, id, 1)).step).toMatchObject({ attempt: 1, last_error: 'busy' })
      await expect(fixture.front.retryStep({ ...retry, step_number: 0 })).rejects.toMatchObject(
        refusal('invalid_state'),
      )
      await expect(fixture.front.retryStep({ ...retry, step_number: 7 })).rejects.toMatchObject(
        refusal('invalid_request'),
      )
    },
  ],
  [
    'a step of a paused run is retried when the run goes on',
    async (fixture) => {
      const who = someone()
      const id = await plannedRun(fixture, who)
      const { step } = await claim(fixture, id, 1)
      await fixture.step.releaseStep({ ...step, delay_seconds: 300, error: 'busy', free: false })
      await fixture.front.pauseRun({ principal: who, run_id: id })
      const retry = { principal: who, run_id: id, step_number: 1, ...terms }
      expect((await fixture.front.retryStep(retry)).publications).toEqual([])
      const resumed = await fixture.front.resumeRun({ principal: who, run_id: id, user_input: null })
      expect(resumed.publications).toMatchObject([{ step_number: 1, delay_seconds: 0 }])
      expect((await claim(fixture, id, 1)).step.attempt).toBe(1)
    },
  ],
  [
    'a step that was cancelled with its run is retried in a fork, what was skipped is not',
    async (fixture) => {
      const who = someone()
      const id = await runWithTools(fixture, who, [toolStep('a'), toolStep('b')])
      await claim(fixture, id, 2)
      await fixture.front.cancelRun({ principal: who, run_id: id })
      const retry = { principal: who, run_id: id, ...terms }
      await expect(fixture.front.retryStep({ ...retry, step_number: 3 })).rejects.toMatchObject(
        refusal('invalid_state'),
      )
      const idempotency = { key: 'again', body_sha256: sha('f') }
      const first = await fixture.front.retryStep({ ...retry, step_number: 2, idempotency })
      expect(first.publications.map(({ step_number }) => step_number)).toEqual([2, 3])
      expect(await fixture.front.retryStep({ ...retry, step_number: 2, idempotency })).toMatchObject({
        forked: true,
        replayed: true,
        run: { id: first.run.id },
      })
    },
  ],
  [
    'a run that was never started cannot be forked',
    async (fixture) => {
      const who = someone()
      const { run } = await fixture.front.createRun(newRun(who, { auto_start: false }))
      await expect(
        fixture.front.forkRun({ principal: who, run_id: run.id, from_step: 0, message: 'x', ...terms }),
      ).rejects.toMatchObject(refusal('invalid_request'))
    },
  ],
]
