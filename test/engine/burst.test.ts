import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import type { MemoryReply } from '../../shared/adapters/memory/model.ts'
import { modelStep } from '../../shared/core/steps.ts'
import { readPlan } from '../../shared/engine/read-plan.ts'
import { stepCommit } from '../../shared/engine/step-commit.ts'
import { ModelError, type ModelRequest } from '../../shared/ports/model.ts'
import { advanceDatabase } from './advance-database.ts'
import { call, type Engine, engine, PLAN, principal, say, script } from './harness.ts'

let respond: (request: ModelRequest, n: number) => MemoryReply | Promise<MemoryReply> = script([])
let e: Engine

beforeAll(async () => {
  e = await engine((request, n) => respond(request, n))
})
beforeEach(() => {
  e.deps.settings.burst = { steps: 100, ms: 20_000 }
})
afterEach(async () => {
  expect(await e.violations()).toEqual([])
})
afterAll(() => e.close())

const write = (n: number) => [call('file_write', { filepath: `outputs/${n}.txt`, content: `${n}` })]
/** plan, then three rounds of decide and file_write, then the answer: 8 steps. */
const inline = script([write(1), write(2), write(3), [say('End.')]])

it('one invocation takes a run from its plan to its end, with nothing to publish on the way', async () => {
  respond = inline
  const { run } = await e.create(principal())
  const published = e.scheduler.published.length
  expect(await e.deliver({ run_id: run.id, step_number: 0 })).toEqual({ outcome: 'committed', steps: 8 })
  expect(e.scheduler.published.length).toBe(published)
  expect(await e.run(run.id)).toMatchObject({ status: 'completed', total_steps: 8, completed_steps: 8 })
})

it('with one step an invocation nothing changes', async () => {
  respond = inline
  e.deps.settings.burst = { steps: 1, ms: 20_000 }
  const { run } = await e.create(principal())
  expect(await e.deliver({ run_id: run.id, step_number: 0 })).toEqual({ outcome: 'committed' })
  expect(e.scheduler.published.at(-1)).toMatchObject({ run_id: run.id, step_number: 1, publication: 0 })
  await e.drain()
  expect((await e.run(run.id)).status).toBe('completed')
})

it.each([
  ['its steps', { steps: 3, ms: 20_000 }, 3],
  ['its time', { steps: 100, ms: 0 }, undefined],
])('ends with %s, and publishes what the last step made due', async (_name, burst, steps) => {
  respond = inline
  e.deps.settings.burst = burst
  const { run } = await e.create(principal())
  expect(await e.deliver({ run_id: run.id, step_number: 0 })).toEqual({
    outcome: 'committed',
    ...(steps === undefined ? {} : { steps }),
  })
  expect(e.scheduler.published.at(-1)).toMatchObject({ run_id: run.id, step_number: steps ?? 1 })
  await e.drain()
  expect((await e.run(run.id)).status).toBe('completed')
})

it('stops where a job, several steps, a question or a pause comes next', async () => {
  respond = script([[call('shell', { command: 'x' })], [say('End.')]])
  const job = await e.create(principal())
  expect(await e.deliver({ run_id: job.run.id, step_number: 0 })).toEqual({ outcome: 'committed', steps: 2 })
  expect(e.scheduler.published.at(-1)).toMatchObject({ run_id: job.run.id, step_number: 2 })
  await e.drain()
  await e.finish(`run-${job.run.id}-2`)
  await e.drain()
  expect((await e.run(job.run.id)).status).toBe('completed')

  respond = script([[...write(1), ...write(2)], [say('End.')]])
  const group = await e.create(principal())
  await e.deliver({ run_id: group.run.id, step_number: 0 })
  expect(e.scheduler.published.slice(-2).map(({ step_number }) => step_number)).toEqual([2, 3])
  // the last member to commit goes on in its own invocation
  expect(await e.deliver({ run_id: group.run.id, step_number: 3 })).toEqual({ outcome: 'committed' })
  expect(await e.deliver({ run_id: group.run.id, step_number: 2 })).toEqual({
    outcome: 'committed',
    steps: 2,
  })
  expect((await e.run(group.run.id)).status).toBe('completed')

  respond = script([[call('ask_user', { question: 'Which?' })], [say('End.')]])
  const question = await e.create(principal())
  await e.deliver({ run_id: question.run.id, step_number: 0 })
  expect((await e.run(question.run.id)).status).toBe('waiting_user')

  const who = principal()
  const paused = await e.create(who)
  respond = async (request) => {
    await e.front.pauseRun({ principal: who, run_id: paused.run.id })
    return inline(request)
  }
  expect(await e.deliver({ run_id: paused.run.id, step_number: 0 })).toEqual({ outcome: 'committed' })
  expect(await e.run(paused.run.id)).toMatchObject({ status: 'paused', total_steps: 2, completed_steps: 1 })
  respond = inline
  const { publications } = await e.front.resumeRun({
    principal: who,
    run_id: paused.run.id,
    user_input: null,
  })
  await e.scheduler.publish(publications)
  await e.drain()
  expect((await e.run(paused.run.id)).status).toBe('completed')
})

it('stops at the operator’s switch and at a cancel', async () => {
  const { run } = await e.create(principal())
  respond = async (request) => {
    await e.project.sql(`insert into private.switches (tenant_id, reason) values ($1, 'test')`, [
      run.tenant_id,
    ])
    return inline(request)
  }
  expect(await e.deliver({ run_id: run.id, step_number: 0 })).toEqual({ outcome: 'committed' })
  expect(await e.deliver({ run_id: run.id, step_number: 1 })).toEqual({ outcome: 'switched_off' })
  await e.project.sql('delete from private.switches')
  respond = inline
  await e.deliver({ run_id: run.id, step_number: 1 })
  expect((await e.run(run.id)).status).toBe('completed')

  const who = principal()
  const cancelled = await e.create(who)
  let turns = 0
  respond = async (request) => {
    if (turns++ === 2) await e.front.cancelRun({ principal: who, run_id: cancelled.run.id })
    return inline(request)
  }
  expect(await e.deliver({ run_id: cancelled.run.id, step_number: 0 })).toEqual({
    outcome: 'stale',
    steps: 4,
  })
  expect((await e.run(cancelled.run.id)).status).toBe('cancelled')
})

it('a fault in the middle leaves a message for the step in hand; a crash leaves it to the sweeper', async () => {
  let turns = 0
  respond = (request) => {
    if (turns++ === 2) throw new Error('a defect')
    return inline(request)
  }
  const { run } = await e.create(principal())
  await expect(e.deliver({ run_id: run.id, step_number: 0 })).rejects.toThrow('a defect')
  const left = e.scheduler.published.at(-1)
  expect(left).toEqual({ run_id: run.id, step_number: 3, epoch: 0, publication: 0, delay_seconds: 6 })
  // the repeat of the first message can do nothing: its step is done and the one in hand is held
  expect(await e.deliver({ run_id: run.id, step_number: 0 })).toEqual({ outcome: 'done' })
  expect(await e.deliver({ run_id: run.id, step_number: 3 })).toMatchObject({ outcome: 'leased' })
  await advanceDatabase(e.project.sql, 6)
  expect(await e.deliver({ run_id: run.id, step_number: 3 })).toEqual({ outcome: 'committed', steps: 5 })
  expect((await e.run(run.id)).status).toBe('completed')

  // a crash: the claim that came with a commit has nobody who works on it
  const second = await e.create(principal())
  respond = inline
  e.deps.settings.burst = { steps: 1, ms: 0 }
  const answer = await e.store.claimStep({ run_id: second.run.id, step_number: 0, lease_seconds: 5 })
  if (!('claim' in answer)) throw new Error('not claimed')
  const read = readPlan(PLAN)
  if (!('plan' in read)) throw new Error('no plan')
  const commit = stepCommit({
    status: 'completed',
    plan: read.plan,
    current_phase: 1,
    next: { kind: 'steps', steps: [modelStep('decide', 1)] },
  })
  const written = await e.store.commitStep({
    ...answer.claim.step,
    commit,
    burst: { lease_seconds: 5, inline_tools: [] },
  })
  expect(written).toMatchObject({
    committed: true,
    publications: [],
    claim: { step: { step_number: 1, attempt: 1 } },
  })
  expect((await e.store.sweepDue({ limit: 10 })).publications).toEqual([])
  await advanceDatabase(e.project.sql, 8)
  const { publications } = await e.store.sweepDue({ limit: 10 })
  expect(publications).toMatchObject([{ run_id: second.run.id, step_number: 1, publication: 1 }])
  await e.scheduler.publish(publications)
  await e.drain()
  expect((await e.run(second.run.id)).status).toBe('completed')
})

it('waits for the disk with its commit, though a claim alone does not', async () => {
  const { run } = await e.create(principal())
  const answer = await e.store.claimStep({ run_id: run.id, step_number: 0, lease_seconds: 5 })
  if (!('claim' in answer)) throw new Error('not claimed')
  const { run_id, step_number, fence, token } = answer.claim.step
  const commit = stepCommit({ status: 'completed', next: { kind: 'steps', steps: [modelStep('replan', 0)] } })
  const burst = { lease_seconds: 5, inline_tools: [] }
  await e.project.sql(`do $$ begin
    perform set_config('synchronous_commit', 'on', true);
    if not public.agent_commit_step('${JSON.stringify({ run_id, step_number, fence, token, commit, burst })}') ? 'claim' then
      raise exception 'no claim';
    end if;
    if current_setting('synchronous_commit') <> 'on' then raise exception 'would not wait'; end if;
  end $$`)
})

it('a provider that is overloaded ends the burst: waiting is a message, not a held process', async () => {
  let turns = 0
  respond = (request) =>
    turns++ === 2 ? new ModelError('overloaded', 'busy', { retryAfterSeconds: 0 }) : inline(request)
  const { run } = await e.create(principal())
  expect(await e.deliver({ run_id: run.id, step_number: 0 })).toEqual({ outcome: 'committed', steps: 4 })
  expect(e.scheduler.published.at(-1)).toMatchObject({ run_id: run.id, step_number: 3, publication: 1 })
  await e.drain()
  expect((await e.run(run.id)).status).toBe('completed')
})
