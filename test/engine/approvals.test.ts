import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { call, type Engine, engine, principal, say, script } from './harness.ts'

let e: Engine

beforeAll(async () => {
  const turns = [
    [call('shell', { command: 'deploy' }, 'toolu_a'), call('message', { message: 'hi' }, 'toolu_b')],
    [say('End.')],
  ]
  e = await engine(script(turns), { approvalTools: ['shell'] })
})
afterEach(async () => {
  expect(await e.violations()).toEqual([])
})
afterAll(() => e.close())

async function asked() {
  const who = principal()
  const { run } = await e.create(who)
  await e.deliver({ run_id: run.id, step_number: 0 })
  await e.drain()
  const ids = { principal: who, run_id: run.id }
  const none = { steps: null, messages: { limit: 100 }, artifacts: null, logs: null }
  const { approvals } = await e.front.readRun({ ...ids, ...none })
  const [{ approval_id = '' } = {}] = approvals
  const read = () => e.front.readRun({ ...ids, ...none })
  return { ids, run, approvals, approval_id, read }
}

it('nothing of a turn is carried out before the call that needs it is allowed', async () => {
  const { ids, run, approvals, approval_id } = await asked()
  expect((await e.run(run.id)).status).toBe('waiting_user')
  expect(approvals).toMatchObject([{ tool_name: 'shell', tool_input: { command: 'deploy' }, step_number: 2 }])
  expect(await e.deliver({ run_id: run.id, step_number: 2 })).toEqual({ outcome: 'not_due' })
  expect(e.jobs.size).toBe(0)
  const { publications } = await e.front.answerApproval({
    ...ids,
    approval_id,
    approved: true,
    message: null,
  })
  for (const { step_number } of publications) await e.deliver({ run_id: run.id, step_number })
  const [job = ''] = e.jobs.keys()
  await e.finish(job)
  await e.drain()
  expect((await e.run(run.id)).status).toBe('completed')
  e.jobs.clear()
})

it('the model reads a no with its reason, and the run goes on without the call', async () => {
  const { ids, run, approval_id, read } = await asked()
  const { publications } = await e.front.answerApproval({
    ...ids,
    approval_id,
    approved: false,
    message: 'not on a Friday',
  })
  expect(publications.map(({ step_number }) => step_number)).toEqual([3])
  await e.deliver({ run_id: run.id, step_number: 3 })
  await e.drain()
  expect(e.jobs.size).toBe(0)
  expect((await e.run(run.id)).status).toBe('completed')
  expect((await read()).messages.filter(({ role }) => role === 'tool').map(({ content }) => content)).toEqual(
    ['The user did not allow this call: not on a Friday', expect.any(String)],
  )
})

it('a fork or a retried step does not go round the question', async () => {
  const { ids, run, approval_id } = await asked()
  await e.front.answerApproval({ ...ids, approval_id, approved: false, message: null })
  await e.deliver({ run_id: run.id, step_number: 3 })
  await e.drain()
  const terms = { limits: { max_steps: 50, timeout_seconds: 600 }, idempotency: null }
  for (const verb of [
    () => e.front.retryStep({ ...ids, ...terms, step_number: 2 }),
    () => e.front.forkRun({ ...ids, ...terms, from_step: 2, message: null }),
  ])
    await expect(verb()).rejects.toMatchObject({
      code: 'invalid_state',
      message:
        'Step 2 belongs to calls that need an approval: fork at the step that asked the model before it',
    })
  const fork = await e.front.forkRun({ ...ids, ...terms, from_step: 1, message: null })
  await e.deliver({ run_id: fork.run.id, step_number: 1 })
  expect((await e.run(fork.run.id)).status).toBe('waiting_user')
})
