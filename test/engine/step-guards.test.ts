import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { modelStep } from '../../shared/core/steps.ts'
import {
  answerCommit,
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
async function park(run: string, n: number): Promise<void> {
  const { step } = await claim(f, run, n)
  await f.step.parkStep({
    ...step,
    job_name: `run-${run}-${n}`,
    token_sha256: sha(`${n}`),
    deadline_seconds: 600,
    check_seconds: 60,
  })
}
const publishedIn = async (run: string, step: number) => {
  const [row] = await f.sql(
    `select round(extract(epoch from publish_at - clock_timestamp()) / 10)::int * 10 as s from public.agent_task_queue where run_id = $1 and step_number = $2`,
    [run, step],
  )
  return row?.s
}
/** Somebody else's transaction that has rows locked, until it is released. */
async function holding(text: string, values: unknown[]): Promise<() => Promise<void>> {
  const client = new pg.Client({ connectionString: f.database.url('postgres') })
  client.on('error', () => {})
  await client.connect()
  await client.query('begin')
  await client.query(text, values)
  return () => client.end()
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

it('a pause from executing is not shortened by a new plan', async () => {
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
  await park(run, 2)
  await park(run, 3)
  expect([await publishedIn(run, 2), await publishedIn(run, 3)]).toEqual([60, 60])
  await f.step.startJob(job(run, 2))
  expect([await publishedIn(run, 2), await publishedIn(run, 3)]).toEqual([600, 60])
  expect((await f.step.checkJob({ ...job(run, 2), sha256: sha('1') })).owned).toBe(false)
  expect((await f.step.checkJob({ ...job(run, 2), sha256: sha('2') })).owned).toBe(true)
  expect((await f.step.checkJob(job(run, 2))).owned).toBe(false)
  expect((await read(f, who, other)).run.status).toBe('executing')
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
  expect(by.get('spoken')).toMatchObject({ tool_call_id: 'own', metadata: { blocks: [{ text: 'spoken' }] } })
  expect(by.get('spoken')?.metadata).not.toHaveProperty('is_error')
  expect(by.get('result')?.metadata).not.toHaveProperty('blocks')
})

describe('a place of the tenant', () => {
  const parallel = (tenant: number) => ({ run: 100, tenant, inline_tools: ['message'] })
  const ask = (run_id: string, step_number: number, tenant = 1) =>
    f.step.claimStep({ run_id, step_number, lease_seconds: 60, parallel: parallel(tenant) })
  /** Runs of one tenant with a call each; the first one's has the only place, the others wait in this order. */
  async function line(count: number) {
    const tenant_id = someone().sub
    const runs: string[] = []
    for (let n = 0; n < count; n++) runs.push(await runWithTools(f, someone({ tenant_id }), [toolStep('a')]))
    const answers = []
    for (const run of runs) answers.push(await ask(run, 2))
    const [first] = answers
    if (first === undefined || !('claim' in first)) throw new Error('the first call has no place')
    expect(answers.slice(1)).toEqual(
      Array.from({ length: count - 1 }, () => expect.objectContaining({ refused: 'busy' })),
    )
    return { runs, step: first.claim.step }
  }

  it('goes past a call that somebody is at work on, and waits for nobody', async () => {
    const { runs, step } = await line(3)
    const release = await holding('select from public.agent_task_queue where run_id = $1 for update', [
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
})

it('a pass of the sweeper removes so much at a time, and what is left over in the next', async () => {
  const run = await plannedRun(f, who)
  await f.sql(
    `insert into private.objects_to_remove (bucket, name, not_before, handed_at, removed_at)
     select 'agent-outputs', 'old/' || n, t, t, t from generate_series(1, 1001) n, (select now() - interval '11 minutes') as x (t)`,
  )
  await f.sql(
    `insert into private.idempotency_keys (user_id, key, body_sha256, run_id, created_at)
     select user_id, 'old ' || n, $2, id, now() - interval '25 hours' from public.agent_runs, generate_series(1, 1001) n where id = $1`,
    [run, sha('b')],
  )
  const left = async () =>
    f.sql(`select (select count(*)::int from private.objects_to_remove where name like 'old/%') as objects,
      (select count(*)::int from private.idempotency_keys where key like 'old %') as keys`)
  await f.sweep()
  expect(await left()).toEqual([{ objects: 1, keys: 1 }])
  await f.sweep()
  expect(await left()).toEqual([{ objects: 0, keys: 0 }])
})

it('a finding that another sweeper is just telling is not waited for', async () => {
  await f.sql(`insert into private.violations (invariant, detail) values ('test', 'held'), ('test', 'free')`)
  const release = await holding(`select from private.violations where detail = 'held' for update`, [])
  const { new_violations } = await f.step.sweepDue({ limit: 1 }).finally(release)
  expect(new_violations?.map(({ detail }) => detail)).toEqual(['free'])
  await f.sql(`delete from private.violations where invariant = 'test'`)
})

it('a pass of the sweeper looks at twenty runs that have ended, and at the others in the next', async () => {
  const waiting = async () => {
    const [row] = await f.sql('select count(*)::int as n from private.runs_to_check')
    return Number(row?.n)
  }
  while ((await waiting()) > 0) await f.sweep()
  for (let n = 0; n < 21; n++) {
    const { run } = await f.front.createRun(newRun(who))
    await f.front.cancelRun({ principal: who, run_id: run.id })
  }
  expect(await waiting()).toBe(21)
  await f.sweep()
  expect(await waiting()).toBe(1)
})
