import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { modelStep } from '../../shared/core/steps.ts'
import {
  answerCommit,
  artifactOf,
  carryOut,
  claim,
  commitOf,
  newRun,
  planCommit,
  plannedRun,
  read,
  runWithTools,
  sha,
  someone,
  toolCommit,
  toolStep,
} from '../../shared/ports/store-kit.suite.ts'
import { type DirectFixture, directFixture } from './direct-fixture.ts'

// Guards of the functions that move a run, each seen where only it stands in the way.

let f: DirectFixture
beforeAll(async () => {
  f = await directFixture()
})
afterEach(async () => {
  expect(await f.violations()).toEqual([])
})
afterAll(() => f.close())

const who = someone()
const file = (path: string, letter: string) => ({ path, sha256: sha(letter), size: 1, mode: 0o644 })
const job = (run_id: string, step_number: number) => ({
  run_id,
  step_number,
  token_sha256: sha(`${step_number}`),
})
async function park(run: string, n: number, check_seconds = 60): Promise<void> {
  const { step } = await claim(f, run, n)
  await f.step.parkStep({
    ...step,
    job_name: `run-${run}-${n}`,
    token_sha256: sha(`${n}`),
    deadline_seconds: 600,
    check_seconds,
  })
}
const replan = () => commitOf({ status: 'failed', next: { kind: 'steps', steps: [modelStep('replan', 0)] } })

it('a step without output has none, and one without a plan does not end the planning', async () => {
  const { run } = await f.front.createRun(newRun(who))
  await carryOut(f, run.id, 0, replan())
  expect((await read(f, who, run.id)).run).toMatchObject({
    status: 'planning',
    plan: null,
    plan_version: 0,
    failed_steps: 1,
  })
  expect(
    await f.sql(
      'select tool_output is null as none from public.agent_steps where run_id = $1 and step_number = 0',
      [run.id],
    ),
  ).toEqual([{ none: true }])
  await carryOut(f, run.id, 1, { ...planCommit(), output: { a: 1 } })
  expect((await read(f, who, run.id)).run).toMatchObject({
    status: 'executing',
    plan_version: 1,
    current_phase: 1,
  })
  expect(
    await f.sql('select tool_output from public.agent_steps where run_id = $1 and step_number = 1', [run.id]),
  ).toEqual([{ tool_output: { a: 1 } }])
})

it.each([
  ['planning', replan],
  ['executing', planCommit],
] as const)('a plan below a pause is known when the run goes on: %s', async (status, commit) => {
  const { run } = await f.front.createRun(newRun(who))
  const ids = { principal: who, run_id: run.id }
  const { step } = await claim(f, run.id, 0)
  await f.front.pauseRun(ids)
  await f.step.commitStep({ ...step, commit: commit() })
  expect((await f.front.resumeRun({ ...ids, user_input: null })).run.status).toBe(status)
})

it('a pause from executing is not shortened by a new plan, and a plan is no pause', async () => {
  const going = await plannedRun(f, who)
  await carryOut(f, going, 1, planCommit())
  expect(await f.sql('select paused_from from private.runs where run_id = $1', [going])).toEqual([
    { paused_from: null },
  ])
  const run = await plannedRun(f, who)
  const ids = { principal: who, run_id: run }
  const { step } = await claim(f, run, 1)
  await f.front.pauseRun(ids)
  await f.step.commitStep({ ...step, commit: planCommit() })
  expect((await read(f, who, run)).run).toMatchObject({ status: 'paused', plan_version: 2 })
  expect((await f.front.resumeRun({ ...ids, user_input: null })).run.status).toBe('executing')
})

it('the end of a run tells of the steps that were begun, and of no others', async () => {
  const run = await runWithTools(
    f,
    who,
    ['a', 'b', 'c'].map((id) => toolStep(id)),
  )
  await claim(f, run, 2)
  await park(run, 3)
  await f.front.cancelRun({ principal: who, run_id: run })
  const { steps, logs } = await read(f, who, run)
  expect(steps.slice(2).map(({ status }) => status)).toEqual(['cancelled', 'cancelled', 'skipped'])
  const told = logs
    .filter(({ message }) => message === 'shell cancelled')
    .map(({ metadata }) => metadata['step_id'])
  expect(told).toEqual(steps.slice(2, 4).map(({ id }) => id))
  const longest = Math.max(...steps.map(({ duration_ms }) => duration_ms ?? 0))
  expect(longest).toBeLessThan(60_000)
  expect(steps.slice(2).map(({ started_at }) => started_at === null)).toEqual([false, false, true])
  expect(
    steps.map(({ duration_ms, started_at }) => (duration_ms === null) === (started_at === null)),
  ).not.toContain(false)
})

it('of a run that failed and one that ran out of time the log says why', async () => {
  const failed = await plannedRun(f, who)
  await carryOut(
    f,
    failed,
    1,
    commitOf({ status: 'failed', next: { kind: 'fail', code: 'X', message: 'It broke.' } }),
  )
  expect((await read(f, who, failed)).logs.at(-1)).toMatchObject({ log_type: 'error', message: 'It broke.' })
  for (const [make, message] of [
    [
      async () => (await f.front.createRun(newRun(who, { auto_start: false }))).run.id,
      'The run was not started within 24 hours.',
    ],
    [() => plannedRun(f, who), 'The run reached its time limit.'],
    [
      async () => {
        const run = await plannedRun(f, who)
        await carryOut(
          f,
          run,
          1,
          commitOf({ next: { kind: 'wait_user', question: '?', steps: [modelStep('decide', 1)] } }),
        )
        return run
      },
      'The run waited 30 days for an answer.',
    ],
    [
      async () => {
        const run = await plannedRun(f, who)
        await f.front.pauseRun({ principal: who, run_id: run })
        return run
      },
      'The run was paused for 30 days.',
    ],
  ] as const) {
    const run = await make()
    await f.sql('update private.runs set deadline_at = now() where run_id = $1', [run])
    await f.sweep()
    const { run: ended, logs } = await read(f, who, run)
    expect(ended).toMatchObject({ status: 'timeout', error_message: message, current_step_id: null })
    expect(logs.at(-1)).toMatchObject({ log_type: 'error', message })
  }
  expect((await read(f, who, failed)).run.current_phase).toBe(1)
  const done = await plannedRun(f, who)
  await carryOut(f, done, 1, answerCommit())
  expect((await read(f, who, done)).logs.at(-1)).toMatchObject({
    log_type: 'success',
    message: 'Run completed',
  })
})

it('a job that began is looked after at its deadline, and a file of another run is not its own', async () => {
  const other = await runWithTools(f, who, [toolStep('a')], { files: [file('x', '1')] })
  const run = await runWithTools(f, who, [toolStep('a'), toolStep('b')], { files: [file('y', '2')] })
  await park(run, 2, 120)
  await park(run, 3, 120)
  expect([await f.publishedIn(run, 2), await f.publishedIn(run, 3)]).toEqual([120, 120])
  await f.step.startJob(job(run, 2))
  expect([await f.publishedIn(run, 2), await f.publishedIn(run, 3)]).toEqual([600, 120])
  expect((await f.step.checkJob({ ...job(run, 2), sha256: sha('1') })).owned).toBe(false)
  expect((await f.step.checkJob({ ...job(run, 2), sha256: sha('2') })).owned).toBe(true)
  expect((await f.step.checkJob(job(run, 2))).owned).toBe(false)
  expect((await read(f, who, other)).run.status).toBe('executing')
})

it('a job is told its own call and the files of its own run', async () => {
  const runs: string[] = []
  const people = [someone(), someone()]
  for (const [n, person] of people.entries()) {
    const letter = `${n + 1}`
    const tool_input = { command: letter }
    const made = await runWithTools(f, person, [toolStep('a', { tool_input }), toolStep('b')], {
      files: [file(letter, letter)],
    })
    await park(made, 2)
    runs.push(made)
  }
  for (const [n, run_id] of runs.entries()) {
    const letter = `${n + 1}`
    expect(await f.step.startJob(job(run_id, 2))).toMatchObject({
      run_id,
      user_id: people[n]?.sub,
      tool_input: { command: letter },
      idempotency_key: `${run_id}:2`,
      files: [file(letter, letter)],
    })
  }
})

it('a job is told of each file the version that it has', async () => {
  const run = await runWithTools(f, who, [toolStep('a')], { files: [file('x', '1'), file('y', '1')] })
  const written = { verified: [sha('2')], files: { put: [file('x', '2')], removed: ['y'] } }
  await carryOut(f, run, 2, toolCommit(written))
  await carryOut(f, run, 3, commitOf({ next: { kind: 'steps', steps: [toolStep('b')] } }))
  await park(run, 4)
  expect((await f.step.startJob(job(run, 4))).files).toEqual([file('x', '2')])
})

it('a commit by newer code makes its own run one of that code', async () => {
  const other = await plannedRun(f, who)
  const run = await plannedRun(f, who)
  const { step } = await claim(f, run, 1)
  const next = { kind: 'steps' as const, steps: [modelStep('decide', 1)] }
  await f.step.commitStep({ ...step, protocol: 7, commit: commitOf({ next }) })
  expect(
    await f.sql(
      'select protocol from private.runs where run_id = any ($1) order by array_position($1, run_id)',
      [[run, other]],
    ),
  ).toEqual([{ protocol: 7 }, { protocol: 1 }])
})

it('a lease that is renewed keeps the sweeper off as long as it lasts', async () => {
  const run = await plannedRun(f, who)
  const { step } = await claim(f, run, 1, 600)
  await f.sql('update public.agent_task_queue set publish_at = now() where run_id = $1', [run])
  expect(await f.step.renewLease({ ...step })).toEqual({ held: true, cancelled: false })
  expect(await f.publishedIn(run, 1)).toBe(600)
})

it('a commit ends the wait of its own step', async () => {
  const runs = [await runWithTools(f, who, [toolStep('a')]), await runWithTools(f, who, [toolStep('a')])]
  for (const run of runs) await park(run, 2)
  const [run = '', other = ''] = runs
  await f.sql('update public.agent_task_queue set due_at = now() where run_id = $1', [run])
  await carryOut(f, run, 2, toolCommit())
  expect(
    await f.sql('select run_id from private.waits where run_id = any ($1) and finished_at is null', [runs]),
  ).toEqual([{ run_id: other }])
})

it('who comes for a job that is not out is told to come again while one may still be, and else that there is none', async () => {
  const later = { code: 'not_ready' }
  const never = { code: 'unauthorized' }
  const run = await plannedRun(f, who)
  const steps = [toolStep('a', { needs_approval: true })]
  await carryOut(f, run, 1, commitOf({ next: { kind: 'wait_approval', question: '?', steps } }))
  // one waits for its user
  await expect(f.step.startJob(job(run, 2))).rejects.toMatchObject(later)
  const going = await runWithTools(f, who, [toolStep('a')])
  await claim(f, going, 2)
  await expect(f.step.startJob(job(going, 2))).rejects.toMatchObject(later)
  const done = await runWithTools(f, who, [toolStep('a'), toolStep('b')])
  await carryOut(f, done, 2, toolCommit())
  await expect(f.step.startJob(job(done, 2))).rejects.toMatchObject(never)
  await carryOut(f, done, 3, toolCommit())
  // asks the model
  await expect(f.step.startJob(job(done, 4))).rejects.toMatchObject(never)
  await expect(f.step.startJob(job(done, 9))).rejects.toMatchObject(never)
})

it('of an answer to a question whether a call is allowed a no keeps its reason, and a yes has none', async () => {
  const run = await plannedRun(f, who)
  const steps = ['a', 'b'].map((id) => toolStep(id, { needs_approval: true }))
  await carryOut(f, run, 1, commitOf({ next: { kind: 'wait_approval', question: '?', steps } }))
  const { approvals } = await read(f, who, run)
  for (const { approval_id, step_number } of approvals)
    await f.front.answerApproval({
      principal: who,
      run_id: run,
      approval_id,
      approved: step_number === 2,
      message: 'said',
    })
  expect(
    await f.sql('select approved, reason from private.approvals where run_id = $1 order by step_number', [
      run,
    ]),
  ).toEqual([
    { approved: true, reason: null },
    { approved: false, reason: 'said' },
  ])
  // what was denied was never tried
  expect((await read(f, who, run)).steps[3]).toMatchObject({ status: 'failed', retry_count: 0 })
})

it('what the log says of an answer is of the call of its own run', async () => {
  const asking = async (tool_name: string) => {
    const run = await plannedRun(f, who)
    const steps = [toolStep('a', { tool_name, needs_approval: true })]
    await carryOut(f, run, 1, commitOf({ next: { kind: 'wait_approval', question: '?', steps } }))
    return run
  }
  const other = await asking('browser')
  const run = await asking('shell')
  for (const [run_id, message] of [
    [run, 'Allowed: shell'],
    [other, 'Allowed: browser'],
  ] as const) {
    const { approvals, steps } = await read(f, who, run_id)
    const approval_id = approvals[0]?.approval_id ?? 'none is open'
    await f.front.answerApproval({ principal: who, run_id, approval_id, approved: true, message: null })
    const told = (await read(f, who, run_id)).logs.find(({ metadata }) => metadata['event'] === 'approval')
    expect([told?.message, told?.metadata['step_id']]).toEqual([message, steps[2]?.id])
  }
})

it('however often a look at a job is put off without being counted, the step has been tried no less than not at all', async () => {
  const run = await runWithTools(f, who, [toolStep('a')])
  await park(run, 2)
  for (let n = 0; n < 2; n++) {
    await f.sql('update public.agent_task_queue set due_at = now() where run_id = $1', [run])
    const { step } = await claim(f, run, 2)
    await f.step.releaseStep({ ...step, delay_seconds: 60, error: 'nobody answers', free: true })
  }
  expect(
    await f.sql('select attempt from private.steps where run_id = $1 and step_number = 2', [run]),
  ).toEqual([{ attempt: 0 }])
})

it('a question names no calls, where none is asked about', async () => {
  const run = await plannedRun(f, who)
  const next = { kind: 'wait_user' as const, question: 'Which?', steps: [modelStep('decide', 1)] }
  await carryOut(f, run, 1, commitOf({ next }))
  const { logs } = await read(f, who, run)
  expect(logs.find(({ log_type }) => log_type === 'user_input_required')?.metadata['data']).toEqual({
    question: 'Which?',
  })
})

it('a step that was switched off is looked at again after a minute, the others of its run when they are due', async () => {
  const run = await runWithTools(f, who, [toolStep('a', { tool_name: 'browser' }), toolStep('b')])
  const switchOn = await f.switchOff({ tenant_id: who.sub, tool_name: 'browser' })
  try {
    expect(await f.step.claimStep({ run_id: run, step_number: 2, lease_seconds: 60 })).toMatchObject({
      refused: 'switched_off',
    })
  } finally {
    await switchOn()
  }
  expect([await f.publishedIn(run, 2), await f.publishedIn(run, 3)]).toEqual([60, 20])
})

it('the answer to a run that was never planned is refused', async () => {
  const { run } = await f.front.createRun(newRun(who))
  const { step } = await claim(f, run.id, 0)
  await expect(f.step.commitStep({ ...step, commit: answerCommit() })).rejects.toThrow(/planning/)
  expect((await read(f, who, run.id)).run.status).toBe('planning')
})

it('a message tells what it is: an answer, a thought, or nothing to tell', async () => {
  const say = (role: 'assistant' | 'tool', content: string) => ({
    id: crypto.randomUUID(),
    role,
    content,
    tool_call_id: 'own',
    tool_name: 'own',
    is_error: role === 'tool',
    blocks: role === 'assistant' ? [{ type: 'text', text: content }] : null,
  })
  const run = await plannedRun(f, who)
  const next = { kind: 'steps' as const, steps: [toolStep('call')] }
  await carryOut(f, run, 1, commitOf({ messages: [say('assistant', 'thought'), say('assistant', '')], next }))
  await carryOut(f, run, 2, toolCommit({ messages: [say('assistant', 'spoken'), say('tool', 'result')] }))
  await carryOut(f, run, 3, {
    ...answerCommit(),
    messages: [say('assistant', 'the end'), say('tool', 'late')],
  })
  const { messages, logs } = await read(f, who, run)
  const told = logs.filter(({ metadata }) => metadata['event'] === 'message')
  expect(told.map(({ message, metadata }) => [message, (metadata['data'] as { kind: string }).kind])).toEqual(
    [
      ['thought', 'thinking'],
      ['spoken', 'answer'],
      ['the end', 'answer'],
    ],
  )
  const by = new Map(messages.map((row) => [row.content, row]))
  // the result of a tool step answers the call that made the step, whatever its writer says
  expect(by.get('result')).toMatchObject({
    tool_call_id: 'call',
    tool_name: 'shell',
    metadata: { is_error: true },
  })
  expect(by.get('late')).toMatchObject({ tool_call_id: 'own', tool_name: 'own' })
  expect(by.get('spoken')).toMatchObject({
    tool_call_id: 'own',
    tool_name: 'own',
    metadata: { blocks: [{ text: 'spoken' }] },
  })
  expect(by.get('spoken')?.metadata).not.toHaveProperty('is_error')
  expect(by.get('result')?.metadata).not.toHaveProperty('blocks')
})

it('a job that is out is looked after also past the attempts and without a place, and has begun when it ended', async () => {
  const run = await runWithTools(f, who, [toolStep('a'), toolStep('b')])
  const parallel = { run: 1, tenant: 1, inline_tools: [] }
  await f.step.claimStep({ run_id: run, step_number: 3, lease_seconds: 60, parallel })
  // by code from before there were places
  await park(run, 2)
  await f.sql('update private.steps set attempt = 5 where run_id = $1 and step_number = 2', [run])
  await f.sql('update public.agent_task_queue set due_at = now() where run_id = $1 and step_number = 2', [
    run,
  ])
  expect(await f.step.claimStep({ run_id: run, step_number: 2, lease_seconds: 60, parallel })).toMatchObject({
    claim: { step: { attempt: 5, job: { name: `run-${run}-2`, confirmed: false } } },
  })
  await f.step.finishJob({ ...job(run, 2), body_sha256: sha('b'), commit: toolCommit() })
  expect(
    await f.sql('select confirmed_at is not null as begun from private.waits where run_id = $1', [run]),
  ).toEqual([{ begun: true }])
})

it('of the phases the log tells each that begins, once', async () => {
  const { run } = await f.front.createRun(newRun(who))
  await carryOut(f, run.id, 0, planCommit())
  const next = { kind: 'steps' as const, steps: [modelStep('decide', 1)] }
  await carryOut(f, run.id, 1, commitOf({ next }))
  await carryOut(f, run.id, 2, commitOf({ next, current_phase: 1 }))
  await carryOut(f, run.id, 3, commitOf({ next, current_phase: 2 }))
  await carryOut(f, run.id, 4, commitOf({ next }))
  const { logs } = await read(f, who, run.id)
  const told = logs.filter(({ metadata }) => metadata['event'] === 'phase')
  expect(told.map(({ log_type, message, metadata }) => [log_type, message, metadata['data']])).toEqual([
    ['phase_advance', 'Phase 1: One', { from_phase: 0, to_phase: 1, total_phases: 2 }],
    ['phase_advance', 'Phase 2: Two', { from_phase: 1, to_phase: 2, total_phases: 2 }],
  ])
})

it('a run that has its answer before its plan, below a pause, ends in no phase', async () => {
  const { run } = await f.front.createRun(newRun(who))
  const { step } = await claim(f, run.id, 0)
  await f.front.pauseRun({ principal: who, run_id: run.id })
  await f.step.commitStep({ ...step, commit: answerCommit() })
  expect((await read(f, who, run.id)).run).toMatchObject({
    status: 'completed',
    plan: null,
    current_phase: 0,
  })
})

it('a run is at the step that was claimed last', async () => {
  const run = await runWithTools(f, who, [toolStep('a'), toolStep('b')])
  const { steps } = await read(f, who, run)
  for (const n of [2, 3]) {
    await claim(f, run, n)
    expect((await read(f, who, run)).run.current_step_id).toBe(steps[n]?.id)
  }
})

it('a claim tells the first two hundred files, and that these are not all', async () => {
  const files = Array.from({ length: 201 }, (_, n) => file(String(n).padStart(3, '0'), '1'))
  const { run } = await f.front.createRun(newRun(who, { files }))
  const { workspace } = await claim(f, run.id, 0)
  expect(workspace).toMatchObject({ files: 201, bytes: 201, complete: false })
  expect(workspace.entries.map(({ path }) => path)).toEqual(files.slice(0, 200).map(({ path }) => path))
})

it('of two attempts in flight when their run ends each is settled by itself', async () => {
  const run = await runWithTools(f, who, [toolStep('a'), toolStep('b')])
  const attempts = [(await claim(f, run, 2)).step, (await claim(f, run, 3)).step] as const
  await f.front.cancelRun({ principal: who, run_id: run })
  await f.step.settleAttempt({ ...attempts[0], tokens_used: 1, used: true })
  await f.step.settleAttempt({ ...attempts[1], tokens_used: 2, used: false })
  const { run: ended, steps } = await read(f, who, run)
  expect(ended).toMatchObject({ total_tokens_used: 3, total_credits_used: 11 })
  expect(steps.slice(2).map(({ credits_used }) => credits_used)).toEqual([1, 0])
  // once: a delete settles what is not settled yet
  expect(await f.sql(`select from private.steps where run_id = $1 and state <> 'done'`, [run])).toEqual([])
})

it('the model is told the last four hundred messages, and what it was asked', async () => {
  const run = await plannedRun(f, who)
  const message = {
    id: null,
    role: 'assistant' as const,
    tool_call_id: null,
    tool_name: null,
    is_error: false,
    blocks: null,
  }
  const messages = Array.from({ length: 401 }, (_, n) => ({ ...message, content: `${n}` }))
  await carryOut(f, run, 1, commitOf({ messages, next: { kind: 'steps', steps: [modelStep('decide', 1)] } }))
  const { conversation } = await claim(f, run, 2)
  expect(conversation.map(({ content }) => content)).toEqual([
    'please',
    ...messages.slice(1).map(({ content }) => content),
  ])
})

it('a line of the log has data, or none', async () => {
  const run = await runWithTools(f, who, [toolStep('a')])
  const artifact = artifactOf('a.txt', `${who.sub}/a.txt`)
  const logs = [{ log_type: 'info' as const, message: 'said', event: 'told', data: { a: 1 } }]
  await carryOut(f, run, 2, toolCommit({ artifacts: [artifact], logs }))
  const told = new Map((await read(f, who, run)).logs.map(({ message, metadata }) => [message, metadata]))
  const [step_id, artifact_id] = [expect.any(String), expect.any(String)]
  expect(told.get('File a.txt')).toEqual({ event: 'artifact', step_id, artifact_id })
  expect(told.get('said')).toEqual({ event: 'told', step_id, data: { a: 1 } })
})

it('a model that used up its attempts leaves no result of a call', async () => {
  const run = await plannedRun(f, who)
  await f.sql('update private.steps set attempt = 5 where run_id = $1 and step_number = 1', [run])
  expect(await f.step.claimStep({ run_id: run, step_number: 1, lease_seconds: 60 })).toMatchObject({
    refused: 'done',
  })
  const { run: ended, messages } = await read(f, who, run)
  expect([ended.status, messages.map(({ role }) => role)]).toEqual(['failed', ['user']])
})

it('the jobs of a run that has ended are handed to who comes first', async () => {
  const run = await runWithTools(f, who, [toolStep('a')])
  await park(run, 2)
  await f.front.cancelRun({ principal: who, run_id: run })
  const ask = () => f.step.claimStep({ run_id: run, step_number: 2, lease_seconds: 60 })
  expect(await ask()).toMatchObject({ refused: 'final', jobs_to_remove: [`run-${run}-2`] })
  expect(await ask()).toMatchObject({ refused: 'final', jobs_to_remove: [] })
})

it('what a tool is called with is its input alone; the model is told the conversation', async () => {
  const run = await plannedRun(f, who)
  const { conversation } = await claim(f, run, 1)
  expect(conversation).toMatchObject([{ role: 'user', content: 'please' }])
  const going = await runWithTools(f, who, [toolStep('a')])
  expect((await claim(f, going, 2)).conversation).toEqual([])
})

it('of a paused run a job that is out is looked after, and nothing else', async () => {
  const run = await runWithTools(f, who, [toolStep('a'), toolStep('b')])
  await park(run, 2)
  await f.front.pauseRun({ principal: who, run_id: run })
  await f.sql('update public.agent_task_queue set due_at = now() where run_id = $1', [run])
  const ask = (step_number: number) => f.step.claimStep({ run_id: run, step_number, lease_seconds: 60 })
  expect(await ask(2)).toMatchObject({ claim: { step: { step_number: 2, job: { name: `run-${run}-2` } } } })
  expect(await ask(3)).toMatchObject({ refused: 'paused' })
  // who delivers a step that is done is told what is due, but not below a pause
  expect(await ask(1)).toMatchObject({ refused: 'done', publications: [] })
  await f.front.resumeRun({ principal: who, run_id: run, user_input: null })
  expect(await ask(1)).toMatchObject({ refused: 'done', publications: [{ step_number: 3 }] })
})

it('an attempt is settled by who holds it, and by nobody else', async () => {
  const run = await plannedRun(f, who)
  const { step } = await claim(f, run, 1)
  await f.front.cancelRun({ principal: who, run_id: run })
  const settle = (fields: object) =>
    f.sql('select public.agent_settle_attempt($1) as answer', [
      JSON.stringify({ ...step, tokens_used: 1, used: false, ...fields }),
    ])
  expect(await settle({ fence: step.fence + 1 })).toEqual([{ answer: { settled: false } }])
  expect(await settle({})).toEqual([{ answer: { settled: true } }])
  expect(await settle({})).toEqual([{ answer: { settled: false } }])
})

it('an attempt is settled also when its lease has lapsed since', async () => {
  const run = await plannedRun(f, who)
  const { step } = await claim(f, run, 1)
  await f.front.cancelRun({ principal: who, run_id: run })
  await f.sql('update private.steps set lease_until = now() where run_id = $1 and step_number = 1', [run])
  await f.step.settleAttempt({ ...step, tokens_used: 1, used: false })
  expect((await read(f, who, run)).run).toMatchObject({ total_credits_used: 5, total_tokens_used: 1 })
})

it.each(['a commit', 'a settlement', 'the sweeper', 'the end of its run'])(
  'a token opens nothing any more after %s',
  async (what) => {
    const run = await plannedRun(f, who)
    const { step } = await claim(f, run, 1)
    const lapse = () =>
      f.sql('update private.steps set lease_until = now() where run_id = $1 and step_number = 1', [run])
    const stop = () => f.front.cancelRun({ principal: who, run_id: run })
    if (what === 'a commit') await f.step.commitStep({ ...step, commit: answerCommit() })
    else if (what === 'the end of its run') {
      await lapse()
      await stop()
    } else {
      await stop()
      expect(await f.step.renewLease({ ...step })).toEqual({ held: false, cancelled: true })
      if (what === 'a settlement') await f.step.settleAttempt({ ...step, tokens_used: 0, used: true })
      else {
        await lapse()
        await f.sweep()
      }
    }
    expect(await f.step.renewLease({ ...step })).toEqual({ held: false, cancelled: false })
  },
)

describe('a place of the tenant', () => {
  const ask = (run_id: string, step_number: number, { tenant = 1, run = 100 } = {}) =>
    f.step.claimStep({
      run_id,
      step_number,
      lease_seconds: 60,
      parallel: { run, tenant, inline_tools: ['message'] },
    })
  /** Runs of one tenant with a call each; those of the first have the only places, the others wait in this order. */
  async function line(count: number, places = 1) {
    const tenant_id = someone().sub
    const people = Array.from({ length: count }, () => someone({ tenant_id }))
    const runs: string[] = []
    for (const person of people) runs.push(await runWithTools(f, person, [toolStep('a')]))
    const answers = []
    for (const run of runs) answers.push(await ask(run, 2, { tenant: places }))
    const steps = answers.flatMap((answer) => ('claim' in answer ? [answer.claim.step] : []))
    const [step, next = step] = steps
    if (step === undefined || next === undefined) throw new Error('the first call has no place')
    expect(answers.slice(places)).toEqual(
      Array.from({ length: count - places }, () => expect.objectContaining({ refused: 'busy' })),
    )
    const [, second = ''] = runs
    return { tenant_id, people, runs, second, step, next }
  }
  const placesOf = async (run: string) =>
    (
      await f.sql(
        'select slot, waits from public.agent_task_queue where run_id = $1 and step_number > 1 order by step_number',
        [run],
      )
    ).map(({ slot, waits }) => slot ?? waits)
  const commit = async (step: Awaited<ReturnType<typeof line>>['step']) => {
    const { publications } = await f.step.commitStep({ ...step, commit: toolCommit() })
    return publications.map(({ run_id, step_number }) => `${run_id} ${step_number}`)
  }

  it('goes past a call that somebody is at work on, and waits for nobody', async () => {
    const { runs, step } = await line(3)
    const release = await f.holding('select from public.agent_task_queue where run_id = $1 for update', [
      runs[1],
    ])
    const committed = f.step.commitStep({ ...step, commit: toolCommit() }).finally(release)
    expect((await committed).publications.map(({ run_id }) => run_id)).toContain(runs[2])
  })

  it.each([
    [0, 2],
    [1, 4],
    [4, 32],
    [5, 60],
    [3000, 60],
  ])('is asked for again later each time, %d publications along in %d s', async (publication, seconds) => {
    const { runs } = await line(2)
    const [, waiting] = runs
    await f.sql('update public.agent_task_queue set publication = $2, due_at = now() where run_id = $1', [
      waiting,
      publication,
    ])
    expect(await ask(waiting ?? '', 2)).toMatchObject({ refused: 'busy' })
    const [row] = await f.sql(
      `select round(extract(epoch from due_at - clock_timestamp()))::int as due, round(extract(epoch from publish_at - due_at))::int as published
       from public.agent_task_queue where run_id = $1`,
      [waiting],
    )
    expect(row).toEqual({ due: seconds, published: 20 })
  })

  it('is for calls: the model is asked without one', async () => {
    const run = await plannedRun(f, who)
    expect(await ask(run, 1)).toHaveProperty('claim')
    expect(await f.sql('select slot, waits from public.agent_task_queue where run_id = $1', [run])).toEqual([
      { slot: null, waits: null },
    ])
  })

  it('is kept for the next attempt when one dies', async () => {
    const run = await runWithTools(f, someone(), [toolStep('a'), toolStep('b')])
    expect(await ask(run, 2, { run: 1 })).toHaveProperty('claim')
    await f.sql('update private.steps set lease_until = now() where run_id = $1', [run])
    expect(await ask(run, 2, { run: 1 })).toHaveProperty('claim')
    expect(await placesOf(run)).toEqual([1, null])
  })

  it('is passed on to the run that had it, when one of its calls waits for that', async () => {
    const tenant_id = someone().sub
    const run = await runWithTools(
      f,
      someone({ tenant_id }),
      ['a', 'b', 'c'].map((id) => toolStep(id)),
    )
    const other = await runWithTools(f, someone({ tenant_id }), [toolStep('a'), toolStep('b')])
    const place = expect.any(Number)
    const first = await ask(run, 2, { run: 2, tenant: 9 })
    await ask(run, 3, { run: 2, tenant: 9 })
    for (const [of, n, most] of [
      [run, 4, 2],
      [other, 2, 1],
      [other, 3, 1],
    ] as const)
      await ask(of, n, { run: most, tenant: 9 })
    expect([await placesOf(run), await placesOf(other)]).toEqual([
      [place, place, 'run'],
      [place, 'run'],
    ])
    if (!('claim' in first)) throw new Error('the first call has no place')
    expect(await commit(first.claim.step)).toEqual([`${run} 4`])
    expect([await placesOf(run), await placesOf(other)]).toEqual([
      [place, place],
      [place, 'run'],
    ])
  })

  it('that somebody is just taking is left to them', async () => {
    const tenant_id = someone().sub
    const run = await runWithTools(f, someone({ tenant_id }), [toolStep('a')])
    const release = await f.holding(
      `select pg_advisory_xact_lock(hashtextextended('slot 1 of ' || $1::text, 0))`,
      [tenant_id],
    )
    expect(await ask(run, 2).finally(release)).toMatchObject({ refused: 'busy' })
  })

  it('that was free when the free ones were looked up is looked at once more', async () => {
    const { tenant_id, runs, second } = await line(2)
    const [early, late] = [
      await runWithTools(f, someone({ tenant_id }), [toolStep('a')]),
      await runWithTools(f, someone({ tenant_id }), [toolStep('a')]),
    ]
    // the first free place is passed to the one who waits, which is held up here; meanwhile the next one is taken
    await f.sql(`create function private.held_up() returns trigger language plpgsql as
      $$ begin if new.waits = 'called' then perform pg_advisory_xact_lock(4711); end if; return new; end $$`)
    await f.sql(
      'create trigger held_up before update on public.agent_task_queue for each row execute function private.held_up()',
    )
    const release = await f.holding('select pg_advisory_xact_lock(4711)', [])
    const asking = ask(late, 2, { tenant: 3 }).catch(String)
    await expect
      .poll(
        () => f.sql(`select from pg_locks where locktype = 'advisory' and objid = 4711 and not granted`),
        { timeout: 5000 },
      )
      .toHaveLength(1)
    await f.sql('update public.agent_task_queue set slot = 3 where run_id = $1 and step_number = 2', [early])
    await release()
    expect(await asking).toMatchObject({ refused: 'busy' })
    await f.sql('drop function private.held_up() cascade')
    expect(await Promise.all([...runs, early, late].map(placesOf))).toEqual([[1], [2], [3], ['tenant']])
    expect(await placesOf(second)).toEqual([2])
  })

  it('is kept by who is at work, and a turn by who is paused, over a pass of the sweeper', async () => {
    const { people, runs, second, step } = await line(3)
    const ids = { principal: people[1] ?? who, run_id: second }
    await f.front.pauseRun(ids)
    await f.sweep()
    expect(await Promise.all(runs.map(placesOf))).toEqual([[1], ['tenant'], ['tenant']])
    await f.front.resumeRun({ ...ids, user_input: null })
    expect(await commit(step)).toEqual([`${runs[0]} 3`, `${second} 2`])
  })

  it('is waited for anew by who had one and left it', async () => {
    const { tenant_id, second, step } = await line(2)
    await commit(step)
    await f.sql('update public.agent_task_queue set due_at = now() where run_id = $1', [second])
    const again = await ask(second, 2)
    if (!('claim' in again)) throw new Error('the place was not passed on')
    const [third, fourth] = [
      await runWithTools(f, someone({ tenant_id }), [toolStep('a')]),
      await runWithTools(f, someone({ tenant_id }), [toolStep('a')]),
    ]
    await ask(third, 2)
    await f.step.releaseStep({ ...again.claim.step, delay_seconds: 0, error: 'busy', free: false })
    await ask(fourth, 2)
    await ask(second, 2)
    expect(
      await f.sql(
        `select run_id, slot, waits from public.agent_task_queue where run_id = any ($1) order by waiting_since`,
        [[second, third, fourth]],
      ),
    ).toEqual([
      { run_id: third, slot: 1, waits: 'called' },
      { run_id: fourth, slot: null, waits: 'tenant' },
      { run_id: second, slot: null, waits: 'tenant' },
    ])
  })

  it('is left by a call that a pause holds, and kept by the one of its run that is at work', async () => {
    const person = someone()
    const run = await runWithTools(f, person, [toolStep('a'), toolStep('b')])
    for (const n of [2, 3]) await ask(run, n, { tenant: 9 })
    await f.sql('update private.steps set lease_until = now() where run_id = $1 and step_number = 2', [run])
    await f.front.pauseRun({ principal: person, run_id: run })
    await f.sweep()
    expect(await placesOf(run)).toEqual([null, expect.any(Number)])
  })

  it('is told of by a call that has used up its attempts, when it had one', async () => {
    const { tenant_id, second } = await line(2)
    const run = await runWithTools(f, someone({ tenant_id }), [toolStep('a'), toolStep('b')])
    // as above: the one who waits has a place now, and was not told
    expect(await ask(run, 2, { tenant: 3 })).toHaveProperty('claim')
    await f.sql('update private.steps set attempt = 5, lease_until = null where run_id = $1', [run])
    expect(await ask(run, 3)).toEqual({ refused: 'done', publications: [] })
    expect(await ask(run, 2)).toMatchObject({
      refused: 'done',
      publications: [
        { run_id: run, step_number: 4 },
        { run_id: second, step_number: 2 },
      ],
    })
  })

  it('is told to whoever it was passed to, once', async () => {
    const { runs, step, next } = await line(3, 2)
    const third = runs[2] ?? ''
    const { publications } = await f.step.commitStep({ ...step, commit: toolCommit() })
    expect(publications).toMatchObject([
      { run_id: runs[0], step_number: 3 },
      // after the one that was to ask again by itself
      { run_id: third, step_number: 2, publication: 2, delay_seconds: 0 },
    ])
    expect(await f.publishedIn(third, 2)).toBe(20)
    expect(await commit(next)).toEqual([`${runs[1]} 3`])
  })

  it('is told to nobody of another tenant, nor to who only waits', async () => {
    const [ours, theirs] = [await line(3), await line(2)]
    await f.sql(
      `update public.agent_task_queue set slot = 2, waits = 'called', publish_at = now() where run_id = $1`,
      [theirs.second],
    )
    await f.sql(`update public.agent_task_queue set publish_at = now() where run_id = $1`, [ours.runs[2]])
    expect(await commit(ours.step)).toEqual([`${ours.runs[0]} 3`, `${ours.second} 2`])
    expect(await commit(theirs.step)).toEqual([`${theirs.runs[0]} 3`, `${theirs.second} 2`])
  })

  it('is told of by who leaves one, and not by who had none', async () => {
    const { tenant_id, second } = await line(2)
    const run = await runWithTools(f, someone({ tenant_id }), [toolStep('a'), toolStep('b')])
    // of two new places the first goes to the one who waits, who has not been told
    expect(await ask(run, 2, { tenant: 3 })).toHaveProperty('claim')
    expect(await placesOf(second)).toEqual([2])
    // of code from before there were places
    expect(await commit((await claim(f, run, 3)).step)).toEqual([])
  })

  it('is told of by a job that leaves one, and not by a job that had none', async () => {
    const { tenant_id, second } = await line(2)
    // so many that nobody else has a place at the last number
    const calls = Array.from({ length: 9 }, (_, n) => toolStep(`${n}`))
    const run = await runWithTools(f, someone({ tenant_id }), calls)
    // as before: the one who waits has a place now, and was not told
    expect(await ask(run, 2, { tenant: 3 })).toHaveProperty('claim')
    await park(run, 10)
    const other = await runWithTools(f, someone({ tenant_id }), calls)
    expect(await ask(other, 10, { tenant: 9 })).toHaveProperty('claim')
    const finish = async (n: number) => {
      const answer = await f.step.finishJob({ ...job(run, n), body_sha256: sha('b'), commit: toolCommit() })
      return answer.publications.map(({ run_id, step_number }) => `${run_id} ${step_number}`)
    }
    expect(await finish(10)).toEqual([])
    await f.sql('update private.steps set lease_until = now() where run_id = $1 and step_number = 2', [run])
    await park(run, 2)
    expect(await finish(2)).toEqual([`${second} 2`])
  })

  it('is told to nobody whose call is just being claimed, and nobody waits for that', async () => {
    const { runs, second, step } = await line(2)
    await f.sql(
      `update public.agent_task_queue set slot = 2, waits = 'called', publish_at = now() where run_id = $1`,
      [second],
    )
    const release = await f.holding('select from public.agent_task_queue where run_id = $1 for update', [
      second,
    ])
    expect(await commit(step).finally(release)).toEqual([`${runs[0]} 3`])
  })

  it('is no longer waited for by a call that was switched off; the next of its run stands in the line', async () => {
    const { tenant_id } = await line(1)
    const browse = toolStep('browse', { tool_name: 'browser' })
    const run = await runWithTools(f, someone({ tenant_id }), [browse, toolStep('a'), browse])
    for (const step of [2, 3]) await ask(run, step, { run: 1 })
    expect(await placesOf(run)).toEqual(['tenant', 'run', null])
    expect(await f.publishedIn(run, 3)).toBe(60)
    await f.sql('update public.agent_task_queue set due_at = now() where run_id = $1', [run])
    const switchOn = await f.switchOff({ tenant_id, tool_name: 'browser' })
    const off = { refused: 'switched_off', publications: [] }
    // who neither has a place nor waits leaves nothing
    expect(await ask(run, 4, { run: 1 })).toEqual(off)
    expect(await placesOf(run)).toEqual(['tenant', 'run', null])
    expect(await ask(run, 2, { run: 1 })).toEqual(off)
    expect(await placesOf(run)).toEqual([null, 'tenant', null])
    // who waits for its own run only leaves no place to the others of it
    const busy = await runWithTools(f, someone({ tenant_id }), [toolStep('a'), browse, toolStep('b')])
    for (const step of [2, 4]) await ask(busy, step, { run: 1, tenant: 9 })
    await f.sql(`update public.agent_task_queue set waits = 'run' where run_id = $1 and step_number = 3`, [
      busy,
    ])
    expect(await ask(busy, 3, { run: 1, tenant: 9 })).toEqual(off)
    expect(await placesOf(busy)).toEqual([expect.any(Number), null, 'run'])
    await switchOn()
  })

  it('is not for code from before there were places; the next of its run stands in the line instead', async () => {
    const { tenant_id } = await line(1)
    const run = await runWithTools(
      f,
      someone({ tenant_id }),
      ['a', 'b', 'c'].map((id) => toolStep(id)),
    )
    for (const step of [2, 3]) await ask(run, step, { run: 1 })
    await f.sql('update public.agent_task_queue set due_at = now() where run_id = $1', [run])
    await claim(f, run, 4)
    expect(await placesOf(run)).toEqual(['tenant', 'run', null])
    await claim(f, run, 2)
    expect(await placesOf(run)).toEqual([null, 'tenant', null])
  })
})
