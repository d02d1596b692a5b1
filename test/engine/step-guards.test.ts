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
const waitingToBeChecked = async () =>
  (await f.sql('select run_id from private.runs_to_check')).map(({ run_id }) => String(run_id))
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

  it('that somebody is just taking is left to them', async () => {
    const tenant_id = someone().sub
    const run = await runWithTools(f, someone({ tenant_id }), [toolStep('a')])
    const release = await holding(
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
    const release = await holding('select pg_advisory_xact_lock(4711)', [])
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

  it('is told to whoever it was passed to, once', async () => {
    const { runs, step, next } = await line(3, 2)
    const third = runs[2] ?? ''
    const { publications } = await f.step.commitStep({ ...step, commit: toolCommit() })
    expect(publications).toMatchObject([
      { run_id: runs[0], step_number: 3 },
      // after the one that was to ask again by itself
      { run_id: third, step_number: 2, publication: 2, delay_seconds: 0 },
    ])
    expect(await publishedIn(third, 2)).toBe(20)
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

  it('is told to nobody whose call is just being claimed, and nobody waits for that', async () => {
    const { runs, second, step } = await line(2)
    await f.sql(
      `update public.agent_task_queue set slot = 2, waits = 'called', publish_at = now() where run_id = $1`,
      [second],
    )
    const release = await holding('select from public.agent_task_queue where run_id = $1 for update', [
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
    expect(await publishedIn(run, 3)).toBe(60)
    await f.sql('update public.agent_task_queue set due_at = now() where run_id = $1', [run])
    const switchOn = await f.switchOff({ tenant_id, tool_name: 'browser' })
    const off = { refused: 'switched_off', publications: [] }
    // who neither has a place nor waits leaves nothing
    expect(await ask(run, 4, { run: 1 })).toEqual(off)
    expect(await placesOf(run)).toEqual(['tenant', 'run', null])
    expect(await ask(run, 2, { run: 1 })).toEqual(off)
    expect(await placesOf(run)).toEqual([null, 'tenant', null])
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

describe('a pass of the sweeper goes past what somebody holds', () => {
  const sweep = () => f.step.sweepDue({ limit: 200 })
  const planned = async () => [await plannedRun(f, someone()), await plannedRun(f, someone())] as const

  it('a run that is to end', async () => {
    const runs = await planned()
    await f.sql('update private.runs set deadline_at = now() where run_id = any ($1)', [runs])
    const statuses = async () =>
      (
        await f.sql(
          'select status from public.agent_runs where id = any ($1) order by array_position($1, id)',
          [runs],
        )
      ).map(({ status }) => status)
    const release = await holding('select from private.runs where run_id = $1 for update', [runs[0]])
    await sweep().finally(release)
    expect(await statuses()).toEqual(['executing', 'timeout'])
    await sweep()
    expect(await statuses()).toEqual(['timeout', 'timeout'])
  })

  it('an attempt that is to be settled', async () => {
    const runs: string[] = []
    for (const person of [someone(), someone()]) {
      const run_id = await plannedRun(f, person)
      await claim(f, run_id, 1)
      await f.front.cancelRun({ principal: person, run_id })
      runs.push(run_id)
    }
    await f.sql('update private.steps set lease_until = now() where run_id = any ($1) and step_number = 1', [
      runs,
    ])
    const states = async () =>
      (
        await f.sql(
          'select state from private.steps where run_id = any ($1) and step_number = 1 order by array_position($1, run_id)',
          [runs],
        )
      ).map(({ state }) => state)
    const release = await holding('select from private.runs where run_id = $1 for update', [runs[0]])
    await sweep().finally(release)
    expect(await states()).toEqual(['settling', 'done'])
    await sweep()
    expect(await states()).toEqual(['done', 'done'])
  })

  it('a place that a pause holds', async () => {
    const runs: string[] = []
    for (const person of [someone(), someone()]) {
      const run_id = await runWithTools(f, person, [toolStep('a')])
      const parallel = { run: 1, tenant: 1, inline_tools: [] }
      await f.step.claimStep({ run_id, step_number: 2, lease_seconds: 60, parallel })
      await f.sql('update private.steps set lease_until = now() where run_id = $1 and step_number = 2', [
        run_id,
      ])
      await f.front.pauseRun({ principal: person, run_id })
      runs.push(run_id)
    }
    const slots = async () =>
      (
        await f.sql(
          'select slot from public.agent_task_queue where run_id = any ($1) order by array_position($1, run_id)',
          [runs],
        )
      ).map(({ slot }) => slot)
    const release = await holding('select from public.agent_task_queue where run_id = $1 for update', [
      runs[0],
    ])
    await sweep().finally(release)
    expect(await slots()).toEqual([1, null])
    await sweep()
    expect(await slots()).toEqual([null, null])
  })

  it('a step that is due', async () => {
    const runs = await planned()
    await f.sql('update public.agent_task_queue set publish_at = now() where run_id = any ($1)', [runs])
    const release = await holding('select from public.agent_task_queue where run_id = $1 for update', [
      runs[0],
    ])
    const published = (await sweep().finally(release)).publications.map(({ run_id }) => run_id)
    expect(runs.map((run) => published.includes(run))).toEqual([false, true])
    expect((await sweep()).publications.map(({ run_id }) => run_id)).toContain(runs[0])
  })

  it('a job and bytes that are to be removed', async () => {
    const [held, free] = [crypto.randomUUID(), crypto.randomUUID()]
    await f.sql(`insert into private.jobs_to_remove (job_name) values ($1), ($2)`, [held, free])
    await f.sql(
      `insert into private.objects_to_remove (bucket, name) values ('agent-outputs', $1), ('agent-outputs', $2)`,
      [held, free],
    )
    const release = await holding(
      `with o as (select from private.objects_to_remove where name = $1 for update)
       select (select count(*) from o) from private.jobs_to_remove where job_name = $1 for update`,
      [held],
    )
    const toRemove = async (swept = sweep()) => {
      const { jobs_to_remove, objects_to_remove } = await swept
      const names = [...jobs_to_remove, ...(objects_to_remove ?? []).map(({ name }) => name)]
      return names.filter((name) => name === held || name === free)
    }
    expect(await toRemove(sweep().finally(release))).toEqual([free, free])
    expect(await toRemove()).toEqual([held, held])
    await f.sql('delete from private.objects_to_remove where name = any ($1)', [[held, free]])
    await f.sql('delete from private.jobs_to_remove where job_name = any ($1)', [[held, free]])
  })

  it('a run that is to be looked at, and the whole round', async () => {
    while ((await waitingToBeChecked()).length > 0) await f.sweep()
    const runs: string[] = []
    for (const person of [someone(), someone()]) {
      const { run } = await f.front.createRun(newRun(person))
      await f.front.cancelRun({ principal: person, run_id: run.id })
      runs.push(run.id)
    }
    const round = await holding('select from private.check_round for update', [])
    await sweep().finally(round)
    expect(new Set(await waitingToBeChecked())).toEqual(new Set(runs))
    const one = await holding('select from private.runs_to_check where run_id = $1 for update', [runs[0]])
    await sweep().finally(one)
    expect(await waitingToBeChecked()).toEqual([runs[0]])
  })
})

it('a step that was put off since the due ones were looked up is not published', async () => {
  const run = await plannedRun(f, who)
  await f.sql('update public.agent_task_queue set publish_at = now() where run_id = $1', [run])
  // everything else of the pass is left out, and what looks up the due ones is held up before it locks them
  const [sweep] = await f.sql(`select pg_get_functiondef('public.agent_sweep(jsonb)'::regprocedure) as text`)
  await f.sql(`create or replace function public.agent_sweep(p jsonb) returns jsonb language sql security definer set search_path to '' as
    $$ select '{"failed": 0, "violations": 0}'::jsonb $$`)
  await f.sql(`create function public.held_up() returns boolean language plpgsql as
    $$ begin perform pg_advisory_xact_lock_shared(4712); return true; end $$`)
  await f.sql('alter policy engine on public.agent_task_queue using (public.held_up())')
  const release = await holding('select pg_advisory_xact_lock(4712)', [])
  const sweeping = f.step.sweepDue({ limit: 200 })
  await expect
    .poll(() => f.sql(`select from pg_locks where locktype = 'advisory' and objid = 4712 and not granted`), {
      timeout: 5000,
    })
    .toHaveLength(1)
  await f.sql(
    `update public.agent_task_queue set publish_at = now() + interval '1 minute' where run_id = $1`,
    [run],
  )
  await release()
  const { publications } = await sweeping
  expect(publications.map(({ run_id }) => run_id)).not.toContain(run)
  expect(await publishedIn(run, 1)).toBe(60)
  await f.sql('alter policy engine on public.agent_task_queue using (true)')
  await f.sql('drop function public.held_up()')
  await f.sql(String(sweep?.text))
})

it('what is not due takes no turn from what is', async () => {
  for (let due = 1; due > 0; ) due = (await f.step.sweepDue({ limit: 200 })).publications.length
  const run = await runWithTools(f, someone(), [toolStep('a'), toolStep('b')])
  await plannedRun(f, someone())
  await f.sql('update public.agent_task_queue set publish_at = now() where run_id = $1', [run])
  const { publications } = await f.step.sweepDue({ limit: 2 })
  expect(publications.map(({ run_id }) => run_id)).toEqual([run, run])
})

it('of the jobs to remove so many are handed out at a time as were asked for', async () => {
  const names = ['1', '2'].map((n) => `${crypto.randomUUID()}-${n}`)
  await f.sql('insert into private.jobs_to_remove (job_name) select unnest($1::text[])', [names])
  const handed: string[] = []
  for (let n = 0; handed.length < 2 && n < 100; n++) {
    const { jobs_to_remove } = await f.step.sweepDue({ limit: 1 })
    expect(jobs_to_remove).toHaveLength(1)
    handed.push(...jobs_to_remove.filter((name) => names.includes(name)))
  }
  expect(new Set(handed)).toEqual(new Set(names))
  await f.sql('delete from private.jobs_to_remove where job_name = any ($1)', [names])
})

it('an attempt that cannot be settled is tried again a minute later; the other of its run keeps its lease', async () => {
  const run = await runWithTools(f, who, [toolStep('a'), toolStep('b')])
  for (const n of [2, 3]) await claim(f, run, n, 600)
  await f.front.cancelRun({ principal: who, run_id: run })
  const lapse = (step: number) =>
    f.sql('update private.steps set lease_until = now() where run_id = $1 and step_number = $2', [run, step])
  const bystander = await runWithTools(f, who, [toolStep('a')])
  await claim(f, bystander, 2, 600)
  await lapse(2)
  await f.sql(
    `create function private.refuse() returns trigger language plpgsql as $$ begin raise 'no room'; end $$`,
  )
  await f.sql(
    `create trigger refuse before insert on private.credit_ledger for each row when (new.run_id = '${run}') execute function private.refuse()`,
  )
  await f.sweep()
  expect(
    await f.sql(
      `select round(extract(epoch from lease_until - clock_timestamp()) / 30)::int * 30 as s from private.steps
       where run_id = any ($1) and lease_until is not null order by array_position($1, run_id), step_number`,
      [[run, bystander]],
    ),
  ).toEqual([{ s: 60 }, { s: 600 }, { s: 600 }])
  await f.sql('drop function private.refuse() cascade')
  for (const n of [2, 3]) {
    await lapse(n)
    await f.sweep()
    const states = await f.sql('select state from private.steps where run_id = $1 order by step_number', [
      run,
    ])
    expect(states[3]?.state).toBe(n === 2 ? 'settling' : 'done')
  }
  expect((await read(f, who, run)).run.total_credits_used).toBe(12)
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
  await f.sql(
    `insert into private.stream_tickets (ticket_sha256, run_id, issuer, sub, use_before, expires_at)
     select 'old ' || n, $1, 'x', 'x', t, t from generate_series(1, 1001) n, (select now() - interval '1 minute') as x (t)`,
    [run],
  )
  const left = async () =>
    f.sql(`select (select count(*)::int from private.objects_to_remove where name like 'old/%') as objects,
      (select count(*)::int from private.idempotency_keys where key like 'old %') as keys,
      (select count(*)::int from private.stream_tickets where ticket_sha256 like 'old %') as tickets`)
  await f.sweep()
  expect(await left()).toEqual([{ objects: 1, keys: 1, tickets: 1 }])
  await f.sweep()
  expect(await left()).toEqual([{ objects: 0, keys: 0, tickets: 0 }])
})

it('a finding that another sweeper is just telling is not waited for', async () => {
  await f.sql(`insert into private.violations (invariant, detail) values ('test', 'held'), ('test', 'free')`)
  const release = await holding(`select from private.violations where detail = 'held' for update`, [])
  const { new_violations } = await f.step.sweepDue({ limit: 1 }).finally(release)
  expect(new_violations?.map(({ detail }) => detail)).toEqual(['free'])
  await f.sql(`delete from private.violations where invariant = 'test'`)
})

it('a pass of the sweeper looks at twenty runs that have ended, and at the others in the next', async () => {
  const waiting = async () => (await waitingToBeChecked()).length
  while ((await waiting()) > 0) await f.sweep()
  for (let n = 0; n < 21; n++) {
    const { run } = await f.front.createRun(newRun(who))
    await f.front.cancelRun({ principal: who, run_id: run.id })
  }
  expect(await waiting()).toBe(21)
  await f.sweep()
  expect(await waiting()).toBe(1)
})

it('a pass of the sweeper looks at twenty runs of the queue, the next one at those after them', async () => {
  for (let n = 0; n < 21; n++) await f.front.createRun(newRun(who))
  const waiting = (await f.sql('select distinct run_id from public.agent_task_queue order by run_id')).map(
    ({ run_id }) => run_id,
  )
  const after = async (run: string) => {
    await f.sql('update private.check_round set last_run = $1', [run])
    await f.sweep()
    return (await f.sql('select last_run from private.check_round'))[0]?.last_run
  }
  const none = '00000000-0000-0000-0000-000000000000'
  expect(await after(none)).toBe(waiting[19])
  expect(await after(waiting.at(-21) ?? '')).toBe(waiting.at(-1))
  expect(await after(waiting.at(-20) ?? '')).toBe(none)
})

it('a run and its user are looked at when it is their turn, and what is found is kept once', async () => {
  while ((await waitingToBeChecked()).length > 0) await f.sweep()
  await f.front.createRun(newRun(who))
  // the last of the round, so that the pass that looks at it looks at no other
  const [last] = await f.sql(
    `select q.run_id, r.user_id, coalesce(lag(q.run_id) over (order by q.run_id), '00000000-0000-0000-0000-000000000000') as before
     from (select distinct run_id from public.agent_task_queue) q join private.runs r using (run_id) order by 1 desc limit 1`,
  )
  const change = async (by: number) => {
    await f.sql('update private.runs set log_seq = log_seq + $2 where run_id = $1', [last?.run_id, by])
    await f.sql(
      'update public.credit_balances set available_credits = available_credits + $2 where user_id = $1',
      [last?.user_id, by],
    )
  }
  const foundAfter = async (run: string) => {
    await f.sql('update private.check_round set last_run = $1', [run])
    await f.sweep()
    return (await f.sql('select from private.violations')).length
  }
  await change(1)
  expect(await foundAfter(last?.run_id)).toBe(0)
  for (let n = 0; n < 2; n++) expect(await foundAfter(last?.before)).toBe(2)
  await change(-1)
  await f.sql('delete from private.violations')
})

describe('an invariant', () => {
  /** Which run is made unsound, how, and what is then said of it; of no other run anything may be said. */
  const BREAKS: [run: string, sql: string, ...says: string[]][] = [
    [
      'work',
      `drop index private.credit_ledger_step;
       insert into private.credit_ledger (user_id, run_id, step_number, kind, available) values (:user, :run, 1, 'refund', 0)`,
      'one settlement a step',
    ],
    [
      'work',
      `update public.agent_steps set status = 'skipped' where run_id = :run and step_number = 3`,
      'one result a step',
    ],
    // so many as counted, but not the last; and the last, but one too few
    [
      'work',
      'update private.steps set step_number = 9 where run_id = :run and step_number = 0',
      'step numbers without gaps',
    ],
    [
      'work',
      'delete from private.steps where run_id = :run and step_number = 0',
      'step numbers without gaps',
    ],
    [
      'work',
      `update public.agent_steps set completed_at = completed_at + interval '1 hour' where run_id = :run and step_number = 0`,
      'groups in order',
    ],
    [
      'asking',
      'update private.steps set fence = 1 where run_id = :run and step_number = 2',
      'no call without its approval',
    ],
    ['work', 'update private.runs set deadline_at = null where run_id = :run', 'a reason to wake'],
    ['asking', 'update private.runs set deadline_at = null where run_id = :run', 'a reason to wake'],
    ['work', 'update public.agent_task_queue set publish_at = null where run_id = :run', 'a reason to wake'],
    [
      'ended',
      'update private.runs set deadline_at = now() where run_id = :run',
      'an ended run holds nothing',
    ],
    [
      'ended',
      `insert into public.agent_task_queue (run_id, step_number, tenant_id, epoch, due_at) values (:run, 0, :user, 0, now())`,
      'an ended run holds nothing',
      'an open step is on the queue',
    ],
    [
      'ended',
      `insert into private.waits (run_id, step_number, kind, deadline_at) values (:run, 0, 'user', now())`,
      'an ended run holds nothing',
    ],
    [
      'ended',
      `update private.steps set state = 'open' where run_id = :run and step_number = 0`,
      'one result a step',
      'an ended run holds nothing',
      'an open step is on the queue',
    ],
    [
      'work',
      'delete from public.agent_task_queue where run_id = :run and step_number = 4',
      'an open step is on the queue',
    ],
    [
      'work',
      'update private.runs set group_open = group_open + 1 where run_id = :run',
      'the group counter is its open members',
    ],
    [
      'work',
      'update public.agent_task_queue set slot = null where run_id = :run',
      'a call waits for another of its run',
    ],
    [
      'work',
      `update public.agent_task_queue set publish_at = now() - interval '16 minutes' where run_id = :run and step_number = 2`,
      'no run is silent',
    ],
    [
      'ended',
      `insert into private.credit_ledger (user_id, run_id, step_number, kind, available) values (:user, :run, 9, 'reserve', -1)`,
      'a settled run owes nothing',
    ],
    [
      'work',
      'update public.agent_runs set total_credits_used = total_credits_used + 1 where id = :run',
      'credits of the run are its charges',
    ],
    ['work', 'delete from public.agent_task_logs where run_id = :run and seq = 2', 'log numbers are dense'],
    [
      'work',
      `update public.agent_task_logs l set seq = seq + 1 where run_id = :run
       and seq = (select log_seq from private.runs where run_id = l.run_id)`,
      'log numbers are dense',
    ],
    [
      'work',
      `update public.agent_task_logs l set created_at = (
         select created_at from public.agent_task_logs where run_id = l.run_id and seq = 1) where run_id = :run and seq = 2`,
      'log times rise',
    ],
    // what is allowed is begun, a job that ended is no job, and an artifact of one's own is one's own
    [
      'asking',
      `update private.approvals set approved = true, answered_at = now() where run_id = :run;
       update private.steps set fence = 1 where run_id = :run and step_number = 2`,
    ],
    [
      'ended',
      `insert into private.waits (run_id, step_number, kind, deadline_at, finished_at) values (:run, 0, 'job', now(), now())`,
    ],
    ['work', 'insert into public.agent_artifacts (run_id, user_id) values (:run, :user)'],
    ...['agent_steps', 'agent_messages', 'agent_task_logs'].map((table): [string, string, string] => [
      'work',
      `update public.${table} set user_id = gen_random_uuid() where id = (select id from public.${table} where run_id = :run limit 1)`,
      'one owner a run',
    ]),
    [
      'work',
      `insert into public.agent_artifacts (run_id, user_id) values (:run, gen_random_uuid())`,
      'one owner a run',
    ],
    [
      'work',
      `drop index private.workspace_files_current;
       insert into private.workspace_files select run_id, path, 1, null, sha256, size, mode from private.workspace_files where run_id = :run`,
      'one current version a file',
    ],
    // an earlier version of it is none too many
    [
      'work',
      'insert into private.workspace_files select run_id, path, -9, -1, sha256, size, mode from private.workspace_files where run_id = :run',
    ],
    ...(
      [
        ['agent-workspaces', 'now()', 'bytes in use are not being removed'],
        ['agent-workspaces', 'null'],
        ['agent-outputs', 'now()'],
      ] as const
    ).map(([bucket, handed, ...says]): [string, string, ...string[]] => [
      'work',
      `insert into private.objects_to_remove (bucket, name, handed_at)
       select '${bucket}', :user || '/' || sha256, ${handed} from private.workspace_files where run_id = :run`,
      ...says,
    ]),
    ...['total_steps', 'completed_steps', 'failed_steps'].map((counter): [string, string, string] => [
      'work',
      `update public.agent_runs set ${counter} = ${counter} + 1 where id = :run`,
      'counters are what they count',
    ]),
  ]

  type Said = (change: string, question: string) => Promise<unknown[]>
  /** What is said after each change, which is undone again. */
  async function tryOut(work: (said: Said) => Promise<void>): Promise<void> {
    const client = new pg.Client({ connectionString: f.database.url('postgres') })
    await client.connect()
    try {
      await work(async (change, question) => {
        await client.query(`begin; ${change}`)
        const { rows } = await client.query(question)
        await client.query('rollback')
        return rows
      })
    } finally {
      await client.end()
    }
  }

  it('is said of the run that breaks it, and of no other', async () => {
    const user = someone()
    const parallel = { run: 1, tenant: 1, inline_tools: [] }
    const calls = ['a', 'b', 'c'].map((id) => toolStep(id))
    // one call at work and one that waits for it; in the other run one that waits for the tenant, and one for that
    const work = await runWithTools(f, user, calls, { files: [file('y', '2')] })
    const other = await runWithTools(f, user, calls, { files: [file('y', '1')] })
    const strange = await runWithTools(f, who, calls, { files: [file('y', '2')] })
    for (const run_id of [work, other])
      for (const step_number of [2, 3])
        await f.step.claimStep({ run_id, step_number, lease_seconds: 60, parallel })
    const ended = await runWithTools(f, user, [toolStep('a')])
    await carryOut(f, ended, 2, toolCommit())
    await carryOut(f, ended, 3, answerCommit())
    const settling = await plannedRun(f, user)
    await claim(f, settling, 1)
    await f.front.cancelRun({ principal: user, run_id: settling })
    const asking = await plannedRun(f, user)
    const steps = [toolStep('a', { needs_approval: true })]
    await carryOut(f, asking, 1, commitOf({ next: { kind: 'wait_approval', question: '?', steps } }))
    const runs: Record<string, string> = { work, other, strange, ended, settling, asking }
    const question = `select r.run_id, v.invariant from private.runs r, private.run_violations(r.run_id) v
      where r.run_id in (${Object.values(runs).map((id) => `'${id}'`)}) order by v.invariant`
    await tryOut(async (said) => {
      expect(await said('', question)).toEqual([])
      // rows from before there was this engine are not ours to judge
      const old = crypto.randomUUID()
      expect(
        await said(
          `insert into public.agent_runs (id, user_id) values ('${old}', '${user.sub}');
           insert into public.agent_task_logs (run_id, user_id, seq) values ('${old}', '${user.sub}', 1), ('${old}', '${user.sub}', 2)`,
          `select * from private.run_violations('${old}')`,
        ),
      ).toEqual([])
      for (const [run, sql, ...says] of BREAKS) {
        const run_id = runs[run] ?? ''
        const change = sql.replaceAll(':run', `'${run_id}'`).replaceAll(':user', `'${user.sub}'`)
        expect(await said(change, question), sql).toEqual(
          says.toSorted().map((invariant) => ({ run_id, invariant })),
        )
      }
    })
  })

  it.each([
    ['available_credits = available_credits - 1', ''],
    ['used_credits = used_credits + 1', ''],
    // the ledger agrees, but nobody may owe
    [
      'available_credits = -1',
      `alter table public.credit_balances drop constraint credit_balances_available_credits_check;
       insert into private.credit_ledger (user_id, kind, available)
       select user_id, 'opening', -10000 - available_credits * 10000 from public.credit_balances where user_id = :user;`,
    ],
  ])('of a balance is said of its user alone: %s', async (change, before) => {
    const [one, two] = [someone(), someone()]
    for (const user of [one, two]) await f.front.createRun(newRun(user))
    await tryOut(async (said) =>
      expect(
        await said(
          `${before.replace(':user', `'${one.sub}'`)} update public.credit_balances set ${change} where user_id = '${one.sub}'`,
          `select v.* from unnest(array['${one.sub}', '${two.sub}']::uuid[]) u, private.balance_violations(u) v`,
        ),
      ).toEqual([{ invariant: 'balance is the sum of the ledger', run_id: null, detail: one.sub }]),
    )
  })
})
