import { expect } from 'vitest'
import type { NewStep } from '../core/steps.ts'
import type { Principal } from './identity.ts'
import type { OpenApproval } from './store.ts'
import type { StoreFixture } from './store-fixture.suite.ts'
import {
  carryOut,
  claim,
  commitOf,
  plannedRun,
  read,
  refusal,
  type StoreCase,
  someone,
  toolCommit,
  toolStep,
} from './store-kit.suite.ts'

const DAY_SECONDS = 86_400
const asking = (id: string) => toolStep(id, { needs_approval: true })

/** A run whose step 1 asked for these calls: steps 2, 3, … wait. */
async function askingRun(fixture: StoreFixture, who: Principal, steps: NewStep[]): Promise<string> {
  const id = await plannedRun(fixture, who)
  const { publications, run_status } = await carryOut(
    fixture,
    id,
    1,
    commitOf({ next: { kind: 'wait_approval', question: 'May I use shell?', steps } }),
  )
  expect([publications, run_status]).toEqual([[], 'waiting_user'])
  return id
}

async function open(fixture: StoreFixture, who: Principal, id: string): Promise<OpenApproval[]> {
  return (await read(fixture, who, id)).approvals
}

async function only(fixture: StoreFixture, who: Principal, id: string): Promise<OpenApproval> {
  const [first, ...rest] = await open(fixture, who, id)
  if (first === undefined || rest.length > 0) throw new Error('not one approval is open')
  return first
}

/** Tool calls that need their user's yes. */
export const approvalCases: readonly StoreCase[] = [
  [
    'a call that needs an approval holds its whole group until it is allowed',
    async (fixture) => {
      const who = someone()
      const id = await askingRun(fixture, who, [toolStep('a'), asking('b')])
      expect(await only(fixture, who, id)).toEqual({
        approval_id: expect.any(String),
        step_number: 3,
        step_id: expect.any(String),
        tool_name: 'shell',
        tool_input: { command: 'ls' },
        asked_at: expect.any(String),
      })
      for (const step_number of [2, 3])
        expect(await fixture.step.claimStep({ run_id: id, step_number, lease_seconds: 5 })).toMatchObject({
          refused: 'not_due',
        })
      await fixture.advance(3 * DAY_SECONDS)
      await fixture.sweep()
      const { publications: swept } = await fixture.step.sweepDue({ limit: 200 })
      expect(swept.filter(({ run_id }) => run_id === id)).toEqual([])
      const { approval_id, step_id } = await only(fixture, who, id)
      const answer = { principal: who, run_id: id, approval_id, approved: true, message: null }
      const { run, publications } = await fixture.front.answerApproval(answer)
      expect([run.status, publications.map(({ step_number }) => step_number)]).toEqual(['executing', [2, 3]])
      // waiting was not time of the run
      expect(Date.parse(run.timeout_at ?? '') - Date.parse(run.created_at)).toBeGreaterThan(
        3 * DAY_SECONDS * 1000,
      )
      const again = await fixture.front.answerApproval(answer)
      expect(again.publications.map(({ step_number }) => step_number)).toEqual([2, 3])
      await carryOut(fixture, id, 3, toolCommit())
      const last = await carryOut(fixture, id, 2, toolCommit())
      expect(last.publications.map(({ step_number }) => step_number)).toEqual([4])
      const { logs, approvals } = await read(fixture, who, id)
      expect(approvals).toEqual([])
      expect(
        logs
          .filter(({ metadata }) => ['approval', 'user_input_required'].includes(String(metadata.event)))
          .map(({ message, metadata }) => [message, metadata.data]),
      ).toEqual([
        [
          'May I use shell?',
          {
            question: 'May I use shell?',
            approvals: [{ approval_id, step_number: 3, step_id, tool_name: 'shell' }],
          },
        ],
        ['Allowed: shell', { approval_id, approved: true }],
      ])
    },
  ],
  [
    'a denied call is a failed step with its reason for the model, at no cost, and the others are carried out',
    async (fixture) => {
      const who = someone()
      const id = await askingRun(fixture, who, [asking('a'), asking('b')])
      const [first, second] = await open(fixture, who, id)
      const answer = (approval: OpenApproval | undefined, approved: boolean, message: string | null = null) =>
        fixture.front.answerApproval({
          principal: who,
          run_id: id,
          approval_id: approval?.approval_id ?? '',
          approved,
          message,
        })
      const partly = await answer(first, false, 'not in production')
      expect([partly.run.status, partly.publications]).toEqual(['waiting_user', []])
      expect((await only(fixture, who, id)).step_number).toBe(3)
      const { publications } = await answer(second, true, 'a yes has no reason')
      expect(publications.map(({ step_number }) => step_number)).toEqual([3])
      await carryOut(fixture, id, 3, toolCommit())
      const { run, steps, messages } = await read(fixture, who, id)
      expect(steps.map(({ status, error_code }) => [status, error_code])).toEqual([
        ['completed', null],
        ['completed', null],
        ['failed', 'APPROVAL_DENIED'],
        ['completed', null],
        ['pending', null],
      ])
      // plan, decide and one call
      expect(run.total_credits_used).toBe(11)
      expect(
        messages
          .filter(({ role }) => role === 'tool')
          .map(({ content, tool_call_id }) => [content, tool_call_id]),
      ).toEqual([
        ['The user did not allow this call: not in production', 'a'],
        ['result', 'b'],
      ])
      await expect(answer(first, true)).rejects.toMatchObject({
        ...refusal('already_answered'),
        message: 'This call was denied before',
      })
      await expect(answer(second, false)).rejects.toMatchObject({
        ...refusal('already_answered'),
        message: 'This call was allowed before',
      })
    },
  ],
  [
    'when every call is denied the model is asked next',
    async (fixture) => {
      const who = someone()
      const id = await askingRun(fixture, who, [asking('a')])
      const { approval_id } = await only(fixture, who, id)
      const { run, publications } = await fixture.front.answerApproval({
        principal: who,
        run_id: id,
        approval_id,
        approved: false,
        message: null,
      })
      expect([run.status, publications.map(({ step_number }) => step_number)]).toEqual(['executing', [3]])
      const { conversation, step } = await claim(fixture, id, 3)
      expect([step.kind, conversation.at(-1)]).toEqual([
        'model',
        expect.objectContaining({
          content: 'The user did not allow this call.',
          is_error: true,
          tool_call_id: 'a',
        }),
      ])
    },
  ],
  [
    'an approval is answered by the owner of its run and for this run only',
    async (fixture) => {
      const who = someone()
      const id = await askingRun(fixture, who, [asking('a')])
      const other = await askingRun(fixture, who, [asking('a')])
      const { approval_id } = await only(fixture, who, id)
      const yes = { run_id: id, approval_id, approved: true, message: null }
      await expect(fixture.front.answerApproval({ ...yes, principal: someone() })).rejects.toMatchObject(
        refusal('run_not_found'),
      )
      await expect(
        fixture.front.answerApproval({ ...yes, principal: who, run_id: other }),
      ).rejects.toMatchObject(refusal('not_found'))
      await expect(
        fixture.front.answerApproval({ ...yes, principal: who, approval_id: crypto.randomUUID() }),
      ).rejects.toMatchObject(refusal('not_found'))
      expect(await open(fixture, who, id)).toHaveLength(1)
    },
  ],
  [
    'resume does not allow: without an input it is refused, with one the calls are denied and the model reads it',
    async (fixture) => {
      const who = someone()
      const id = await askingRun(fixture, who, [asking('a')])
      const ids = { principal: who, run_id: id }
      await expect(fixture.front.resumeRun({ ...ids, user_input: null })).rejects.toMatchObject(
        refusal('invalid_state'),
      )
      const { run, publications } = await fixture.front.resumeRun({ ...ids, user_input: 'use another tool' })
      expect([run.status, publications.map(({ step_number }) => step_number)]).toEqual(['executing', [3]])
      const { conversation } = await claim(fixture, id, 3)
      expect(conversation.slice(-2).map(({ role, content }) => [role, content])).toEqual([
        ['tool', 'The user did not allow this call: They answered with a message instead.'],
        ['user', 'use another tool'],
      ])
    },
  ],
  [
    'a pause holds the answers, a resume without an input goes back to the question, and stop ends it',
    async (fixture) => {
      const who = someone()
      const id = await askingRun(fixture, who, [asking('a'), asking('b')])
      const ids = { principal: who, run_id: id }
      const [first, second] = await open(fixture, who, id)
      const answer = (approval: OpenApproval | undefined, approved: boolean) =>
        fixture.front.answerApproval({
          ...ids,
          approval_id: approval?.approval_id ?? '',
          approved,
          message: null,
        })
      await fixture.front.pauseRun(ids)
      expect((await fixture.front.resumeRun({ ...ids, user_input: null })).run.status).toBe('waiting_user')
      await fixture.front.pauseRun(ids)
      await answer(first, true)
      const { run, publications } = await answer(second, false)
      expect([run.status, publications]).toEqual(['paused', []])
      expect((await answer(second, false)).publications).toEqual([])
      expect(await fixture.step.claimStep({ run_id: id, step_number: 2, lease_seconds: 5 })).toMatchObject({
        refused: 'paused',
      })
      const resumed = await fixture.front.resumeRun({ ...ids, user_input: null })
      expect([resumed.run.status, resumed.publications.map(({ step_number }) => step_number)]).toEqual([
        'executing',
        [2],
      ])
      const ended = await askingRun(fixture, who, [asking('a')])
      const { approval_id } = await only(fixture, who, ended)
      await fixture.front.cancelRun({ principal: who, run_id: ended })
      expect(await open(fixture, who, ended)).toEqual([])
      await expect(
        fixture.front.answerApproval({
          principal: who,
          run_id: ended,
          approval_id,
          approved: true,
          message: null,
        }),
      ).rejects.toMatchObject(refusal('invalid_state'))
    },
  ],
  [
    'a fork or a retried step does not go round the question, and a fork before it asks again',
    async (fixture) => {
      const who = someone()
      const id = await askingRun(fixture, who, [asking('a'), toolStep('b')])
      const ids = { principal: who, run_id: id }
      const { approval_id } = await only(fixture, who, id)
      await fixture.front.answerApproval({ ...ids, approval_id, approved: false, message: null })
      await carryOut(fixture, id, 3, toolCommit())
      const terms = { limits: { max_steps: 9, timeout_seconds: 90 }, idempotency: null }
      const refused = {
        ...refusal('invalid_state'),
        message:
          'Step 2 belongs to calls that need an approval: fork at the step that asked the model before it',
      }
      const forkAt = (from_step: number) =>
        fixture.front.forkRun({ ...ids, ...terms, from_step, message: null })
      await expect(fixture.front.retryStep({ ...ids, ...terms, step_number: 2 })).rejects.toMatchObject(
        refused,
      )
      await expect(forkAt(2)).rejects.toMatchObject(refused)
      // what comes behind the calls that were asked about is not held back by them
      for (const from of [3, 4]) expect((await forkAt(from)).run.status).toBe('executing')
      const fork = await forkAt(1)
      expect((await read(fixture, who, fork.run.id)).approvals).toEqual([])
      await carryOut(
        fixture,
        fork.run.id,
        1,
        commitOf({ next: { kind: 'wait_approval', question: 'Again?', steps: [asking('c')] } }),
      )
      expect(await open(fixture, who, fork.run.id)).toHaveLength(1)
    },
  ],
]
