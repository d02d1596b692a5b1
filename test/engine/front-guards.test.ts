import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { modelStep } from '../../shared/core/steps.ts'
import type { Principal } from '../../shared/ports/identity.ts'
import {
  answerCommit,
  artifactOf,
  carryOut,
  claim,
  commitOf,
  newRun,
  plannedRun,
  read,
  runWithTools,
  sha,
  someone,
  toolCommit,
  toolStep,
} from '../../shared/ports/store-kit.suite.ts'
import { type DirectFixture, directFixture } from './direct-fixture.ts'

// Guards of the functions that act for a user, each seen where only it stands in the way.

let f: DirectFixture
beforeAll(async () => {
  f = await directFixture()
})
afterEach(async () => {
  expect(await f.violations()).toEqual([])
})
afterAll(() => f.close())

const ids = (principal: Principal, run_id: string) => ({ principal, run_id })
const message = (content: string) => ({
  id: null,
  role: 'assistant' as const,
  content,
  tool_call_id: null,
  tool_name: null,
  is_error: false,
  blocks: null,
})
const seconds = async (column: string, table: string, run: string) => {
  const [row] = await f.sql(
    `select extract(epoch from ${column} - clock_timestamp())::float8 as s from ${table} where run_id = $1`,
    [run],
  )
  return row.s === null ? null : Math.round(row.s / 10) * 10
}
const DAY = 24 * 3600

describe('who acts', () => {
  it('is nobody without an issuer or a subject', async () => {
    for (const principal of [
      null,
      {},
      { issuer: 'https://users.example/auth/v1', user_id_from: 'new' },
      { sub: randomUUID(), user_id_from: 'new' },
      { issuer: '', sub: randomUUID(), user_id_from: 'new' },
    ])
      await expect(
        f.sql('select public.agent_list_runs($1)', [JSON.stringify({ principal, limit: 5 })]),
        JSON.stringify(principal),
      ).rejects.toMatchObject({ code: 'PT401' })
  })

  it('is one user, however many first calls come at once', async () => {
    const who = someone({ user_id_from: 'new', issuer: `https://${randomUUID()}.example` })
    const client = new pg.Client({ connectionString: f.database.url('postgres') })
    await client.connect()
    try {
      const id = randomUUID()
      await client.query('begin')
      await client.query(`insert into private.issuers (issuer, user_id_from) values ($1, 'new')`, [
        who.issuer,
      ])
      await client.query(
        'insert into private.principals (issuer, sub, user_id, tenant_id) values ($1, $2, $3, $3)',
        [who.issuer, who.sub, id],
      )
      const second = f.front.prepareCreate({ principal: who, idempotency: null, opening_credits: 1 })
      second.catch(() => undefined)
      await expect.poll(waiting, { timeout: 10_000 }).toBe(1)
      await client.query('commit')
      expect((await second).user_id).toBe(id)
    } finally {
      await client.end()
    }
  })
  const waiting = async () =>
    (
      await f.sql(
        `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%agent_%'`,
      )
    ).length

  it('is nobody by a key of its issuer that was taken out of service', async () => {
    const who = someone({ issuer: 'https://leaked.example', user_id_from: 'new' })
    const list = (issuer: string, key_id: string | null) =>
      f.sql('select public.agent_list_runs($1)', [
        JSON.stringify({ principal: { ...who, issuer, key_id }, limit: 5 }),
      ])
    const { run } = await f.front.createRun(newRun(who))
    const ticket = { ticket_sha256: randomUUID(), run_id: run.id }
    await f.front.issueTicket({ principal: who, ...ticket, expires_at: '2099-01-01T00:00:00Z' })
    const elsewhere = someone()
    const other = (await f.front.createRun(newRun(elsewhere))).run
    const kept = { ticket_sha256: randomUUID(), run_id: other.id }
    await f.front.issueTicket({ principal: elsewhere, ...kept, expires_at: '2099-01-01T00:00:00Z' })
    await f.sql(`select private.revoke_key($1, 'bad', 'test')`, [who.issuer])
    await f.sql(`select private.revoke_key($1, 'bad', 'again')`, [who.issuer])
    await expect(list(who.issuer, 'bad')).rejects.toMatchObject({ code: 'PT401' })
    await list(who.issuer, 'good')
    await list(who.issuer, null)
    await list('https://another.example', 'bad')
    await expect(f.front.useTicket(ticket)).rejects.toMatchObject({ code: 'unauthorized' })
    expect((await f.front.useTicket(kept)).connection).toBe(1)
  })

  it('has one opening balance, however many first calls come at once', async () => {
    const who = someone()
    await f.sql(`select private.act_as($1)`, [JSON.stringify(who)])
    const client = new pg.Client({ connectionString: f.database.url('postgres') })
    await client.connect()
    try {
      await client.query('begin')
      await client.query(`select private.open_account($1, 70000)`, [who.sub])
      const second = f.front.prepareCreate({ principal: who, idempotency: null, opening_credits: 5 })
      second.catch(() => undefined)
      await expect.poll(waiting, { timeout: 10_000 }).toBe(1)
      await client.query('commit')
      await second
    } finally {
      await client.end()
    }
    const [{ available, rows }] = (await f.sql(
      `select available_credits::float8 as available, (select count(*)::int from private.credit_ledger l where l.user_id = b.user_id) as rows
       from public.credit_balances b where user_id = $1`,
      [who.sub],
    )) as [{ available: number; rows: number }]
    expect([available, rows]).toEqual([7, 1])
  })

  it('has the tenant of the latest token', async () => {
    const who = someone()
    const tenants = async () =>
      (await f.sql('select tenant_id from private.principals where sub = $1', [who.sub])).map(
        (row) => row.tenant_id,
      )
    await f.front.createRun(newRun(who))
    expect(await tenants()).toEqual([who.sub])
    const tenant_id = randomUUID()
    await f.front.createRun(newRun({ ...who, tenant_id }))
    expect(await tenants()).toEqual([tenant_id])
    await f.front.createRun(newRun(who))
    expect(await tenants()).toEqual([who.sub])
  })
})

it('a run is of the tenant of its own principal, whoever has the same subject at another issuer', async () => {
  const sub = randomUUID()
  const twins = ['https://left.example', 'https://right.example'].map((issuer) =>
    someone({ issuer, sub, user_id_from: 'new', tenant_id: randomUUID() }),
  )
  for (const who of twins) {
    const { run } = await f.front.createRun(newRun(who))
    expect(await f.sql('select tenant_id from private.runs where run_id = $1', [run.id])).toEqual([
      { tenant_id: who.tenant_id },
    ])
  }
})

it('a call that tells nothing new about who acts waits for nobody who changes it', async () => {
  const who = someone({ tenant_id: randomUUID() })
  await f.front.createRun(newRun(who))
  const client = new pg.Client({ connectionString: f.database.url('postgres') })
  await client.connect()
  try {
    await client.query('begin')
    await client.query('select from private.principals where sub = $1 for update', [who.sub])
    const page = await f.front.listRuns({ principal: who, limit: 5, before: null, status: null })
    expect(page.runs).toHaveLength(1)
  } finally {
    await client.end()
  }
})

it.each(['user', 'tenant'] as const)(
  'of two creates at once that may be the last of a %s the second waits for the first',
  async (whose) => {
    const tenant_id = randomUUID()
    const who = someone({ tenant_id })
    await f.front.createRun(newRun(who))
    const client = new pg.Client({ connectionString: f.database.url('postgres') })
    await client.connect()
    let made = false
    const limits = { max_steps: 5, timeout_seconds: 60, [`max_open_runs_per_${whose}`]: 5 }
    try {
      await client.query('begin')
      await client.query(`select pg_advisory_xact_lock(hashtextextended('open runs of ' || $1, 0))`, [
        whose === 'user' ? who.sub : tenant_id,
      ])
      const creating = f.front.createRun(newRun(who, { limits })).then(() => (made = true))
      await expect
        .poll(
          async () =>
            made ||
            (
              await f.sql(
                `select from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database())`,
              )
            ).length,
          { timeout: 5000 },
        )
        .toBeTruthy()
      expect(made).toBe(false)
      await client.query('commit')
      await creating
    } finally {
      await client.end()
    }
  },
)

it('a create waits for no other of its user or tenant whose number is not limited', async () => {
  const who = someone({ tenant_id: randomUUID() })
  const alone = someone()
  const limits = { max_steps: 5, timeout_seconds: 60 }
  const client = new pg.Client({ connectionString: f.database.url('postgres') })
  await client.connect()
  try {
    await client.query('begin')
    const hold = (id: string | null) =>
      client.query(`select pg_advisory_xact_lock(hashtextextended('open runs of ' || $1, 0))`, [id])
    for (const id of [who.sub, who.tenant_id, alone.sub]) await hold(id)
    await f.front.createRun(newRun(who, { limits }))
    await f.front.createRun(newRun(alone, { limits }))
    // who has no tenant is none either
    await f.front.createRun(newRun(alone, { limits: { ...limits, max_open_runs_per_tenant: 5 } }))
  } finally {
    await client.end()
  }
})

describe('what is deleted', () => {
  it('as a mark on the run is not there for any verb', async () => {
    const who = someone()
    const { run } = await f.front.createRun(newRun(who, { tags: ['marked'] }))
    await f.sql('update public.agent_runs set deleted_at = now() where id = $1', [run.id])
    await expect(read(f, who, run.id)).rejects.toMatchObject({ code: 'run_not_found' })
    await expect(f.front.cancelRun(ids(who, run.id))).rejects.toMatchObject({ code: 'run_not_found' })
    const page = await f.front.listRuns({ principal: who, limit: 5, before: null, status: null })
    expect(page.runs).toEqual([])
    const bulk = {
      principal: who,
      tag: 'marked',
      limits: { max_steps: 5, timeout_seconds: 60 },
      opening_credits: 1,
    }
    expect((await f.front.bulkRuns({ ...bulk, verb: 'stop' })).results).toEqual([])
  })

  it('as a mark on an artifact is neither listed nor told', async () => {
    const who = someone()
    const run = await runWithTools(f, who, [toolStep('a')])
    await carryOut(f, run, 2, toolCommit({ artifacts: [artifactOf('a'), artifactOf('b')] }))
    await f.sql(`update public.agent_artifacts set deleted_at = now() where run_id = $1 and filename = 'a'`, [
      run,
    ])
    expect((await read(f, who, run)).artifacts.map(({ filename }) => filename)).toEqual(['b'])
    const { events } = await f.front.readEvents({ ...ids(who, run), after_seq: 0, limit: 100 })
    expect(events.flatMap(({ artifact: row }) => (row === null ? [] : [row.filename]))).toEqual(['b'])
  })
})

describe('pages', () => {
  it('hold what was asked for, however much more there is', async () => {
    const who = someone()
    const run = await runWithTools(f, who, [toolStep('a')])
    const more = {
      artifacts: ['a', 'b', 'c', 'd'].map((name) => artifactOf(name)),
      messages: ['a', 'b', 'c', 'd'].map(message),
    }
    await carryOut(f, run, 2, toolCommit(more))
    await carryOut(f, run, 3, answerCommit())
    for (let n = 0; n < 3; n++) await f.front.createRun(newRun(who))
    const page = await f.front.readRun({
      ...ids(who, run),
      steps: { limit: 2, before: null },
      messages: { limit: 2 },
      artifacts: { limit: 2 },
      logs: { limit: 2 },
    })
    expect(page.steps.map(({ step_number }) => step_number)).toEqual([2, 3])
    expect(page.messages.map(({ content }) => content)).toEqual(['c', 'd'])
    expect(page.artifacts.map(({ filename }) => filename)).toHaveLength(2)
    const all = await read(f, who, run)
    expect(page.logs).toEqual(all.logs.slice(-2))
    expect(page).toMatchObject({
      has_more_steps: true,
      has_more_messages: true,
      has_more_artifacts: true,
      has_more_logs: true,
    })
    expect(all).toMatchObject({
      has_more_steps: false,
      has_more_messages: false,
      has_more_artifacts: false,
      has_more_logs: false,
    })
    expect([all.steps.length, all.artifacts.length, all.logs[0]?.seq]).toEqual([4, 4, 1])

    const none = await f.front.readRun({
      ...ids(who, run),
      steps: null,
      messages: null,
      artifacts: null,
      logs: null,
    })
    expect([none.steps, none.messages, none.artifacts, none.logs]).toEqual([[], [], [], []])
    const events = await f.front.readEvents({ ...ids(who, run), after_seq: 0, limit: 2 })
    expect([events.events.map(({ log }) => log.seq), events.has_more]).toEqual([[1, 2], true])
    const logs = await f.front.readLogs({ ...ids(who, run), after_seq: 0, after_time: null, limit: 2 })
    expect([logs.logs.map(({ seq }) => seq), logs.has_more]).toEqual([[1, 2], true])
    const runs = await f.front.listRuns({ principal: who, limit: 2, before: null, status: null })
    expect([runs.runs.length, runs.has_more]).toEqual([2, true])
    const whole = await f.front.listRuns({ principal: who, limit: 4, before: null, status: null })
    expect([whole.runs.length, whole.has_more]).toEqual([4, false])
  })

  it('of events bring each row what it refers to, and nothing else', async () => {
    const who = someone()
    const run = await runWithTools(f, who, [toolStep('a'), toolStep('b')])
    await carryOut(
      f,
      run,
      2,
      toolCommit({
        artifacts: [artifactOf('a'), artifactOf('b')],
        messages: [{ ...message('hi'), id: randomUUID() }],
      }),
    )
    const other = await runWithTools(f, who, [toolStep('a')])
    const { events } = await f.front.readEvents({ ...ids(who, run), after_seq: 0, limit: 100 })
    expect(events.map(({ log }) => log.seq)).toEqual(events.map((_, n) => n + 1))
    for (const { log, step, message: said, artifact: made } of events) {
      expect([step?.id, said?.id, made?.id]).toEqual([
        log.metadata['step_id'],
        log.metadata['message_id'],
        log.metadata['artifact_id'],
      ])
      expect(log.run_id).toBe(run)
    }
    expect(
      (await f.front.readLogs({ ...ids(who, run), after_seq: null, after_time: null, limit: 100 })).logs,
    ).toEqual(events.map(({ log }) => log))
    for (const list of [await read(f, who, run), await read(f, who, other)])
      for (const row of [...list.steps, ...list.messages, ...list.artifacts, ...list.logs])
        expect(row.run_id).toBe(list.run.id)
  })
})

describe('the time that a run has', () => {
  // as much time passes as no run may be silent for: on a busy machine those of the cases before would be
  afterEach(async () => {
    for (let n = 0; n < 50; n++) {
      if ((await f.step.sweepDue({ limit: 200 })).publications.length === 0) break
    }
  })
  const deadline = (run: string) => seconds('deadline_at', 'private.runs', run)
  const held = async (run: string) => seconds('held_at', 'private.runs', run)
  const from = async (run: string) =>
    (await f.sql('select paused_from from private.runs where run_id = $1', [run]))[0]?.['paused_from']

  it('is a day to be started, its own limit to run, 30 days to wait', async () => {
    const who = someone()
    const { run } = await f.front.createRun(newRun(who, { auto_start: false }))
    expect(await deadline(run.id)).toBe(DAY)
    await f.front.startRun(ids(who, run.id))
    expect(await deadline(run.id)).toBe(600)
    await f.front.pauseRun(ids(who, run.id))
    expect([await deadline(run.id), await held(run.id), await from(run.id)]).toEqual([30 * DAY, -0, 'queued'])
    await f.front.resumeRun({ ...ids(who, run.id), user_input: null })
    expect([await deadline(run.id), await held(run.id), await from(run.id)]).toEqual([600, null, null])

    const asked = await plannedRun(f, who)
    await carryOut(
      f,
      asked,
      1,
      commitOf({ next: { kind: 'wait_user', question: '?', steps: [toolStep('x')] } }),
    )
    expect([await deadline(asked), await held(asked)]).toEqual([30 * DAY, -0])
    await f.advance(100)
    await f.front.pauseRun(ids(who, asked))
    // held since the question, not since the pause
    expect([await held(asked), await from(asked)]).toEqual([-100, 'waiting_user'])
    await f.front.resumeRun({ ...ids(who, asked), user_input: null })
    expect([await held(asked), await from(asked)]).toEqual([-0, null])
    await f.front.resumeRun({ ...ids(who, asked), user_input: 'go' })
    expect([await deadline(asked), await held(asked), await from(asked)]).toEqual([600, null, null])
  })

  it.each([
    ['queued', null],
    ['executing', null],
    // a word to a run that asked nothing does not begin it
    ['queued', 'hurry'],
    ['executing', 'hurry'],
  ] as const)(
    'when it waits below a pause from %s is what was left: resumed with %s',
    async (state, user_input) => {
      const who = someone()
      const run =
        state === 'queued' ? (await f.front.createRun(newRun(who))).run.id : await plannedRun(f, who)
      await f.advance(100)
      await f.front.pauseRun(ids(who, run))
      await f.advance(100)
      const resumed = await f.front.resumeRun({ ...ids(who, run), user_input })
      expect(resumed.run.status).toBe(state)
      expect(await deadline(run)).toBe(500)
    },
  )
})

describe('what a pause holds', () => {
  const schedule = async (run: string) =>
    (
      await f.sql(
        `select step_number, publish_at is not null as scheduled, publication from public.agent_task_queue where run_id = $1 order by 1`,
        [run],
      )
    ).map(({ step_number, scheduled, publication }) => [step_number, scheduled, publication])

  it('is each member of a group that nobody works on and whose job is not out', async () => {
    const who = someone()
    const run = await runWithTools(
      f,
      who,
      ['a', 'b', 'c', 'd'].map((id) => toolStep(id)),
    )
    await claim(f, run, 2)
    const { step } = await claim(f, run, 3)
    await f.step.parkStep({
      ...step,
      job_name: `run-${run}-3`,
      token_sha256: sha('3'),
      deadline_seconds: 600,
      check_seconds: 60,
    })
    const lapsed = await claim(f, run, 4)
    await f.sql(`update private.steps set lease_until = now() where run_id = $1 and step_number = 4`, [run])
    await f.front.pauseRun(ids(who, run))
    expect(await schedule(run)).toEqual([
      [2, true, 0],
      [3, true, 1],
      [4, false, 0],
      [5, false, 0],
    ])
    const { publications } = await f.front.resumeRun({ ...ids(who, run), user_input: null })
    expect(publications.map(({ step_number }) => step_number)).toEqual([4, 5])
    expect(await schedule(run)).toEqual([
      [2, true, 0],
      [3, true, 1],
      [4, true, 1],
      [5, true, 1],
    ])
    expect((await f.step.commitStep({ ...lapsed.step, commit: toolCommit() })).committed).toBe(false)
  })

  it('is an attempt as well that was in work and died, from its next delivery on', async () => {
    const who = someone()
    const run = await plannedRun(f, who)
    await claim(f, run, 1)
    await f.front.pauseRun(ids(who, run))
    expect(await schedule(run)).toEqual([[1, true, 0]])
    const ask = { run_id: run, step_number: 1, lease_seconds: 5 }
    expect(await f.step.claimStep(ask)).toMatchObject({ refused: 'paused' })
    expect(await schedule(run)).toEqual([[1, true, 0]])
    await f.sql('update private.steps set lease_until = now() where run_id = $1', [run])
    expect(await f.step.claimStep(ask)).toMatchObject({ refused: 'paused' })
    expect(await schedule(run)).toEqual([[1, false, 0]])
  })

  it('is a question as well, until it is answered', async () => {
    const who = someone()
    const run = await plannedRun(f, who)
    await carryOut(
      f,
      run,
      1,
      commitOf({ next: { kind: 'wait_user', question: '?', steps: [toolStep('x')] } }),
    )
    expect(await schedule(run)).toEqual([[2, false, 0]])
    const { publications } = await f.front.resumeRun({ ...ids(who, run), user_input: 'yes' })
    expect(publications).toMatchObject([{ step_number: 2, publication: 1 }])
    expect(await f.sql('select from private.waits where run_id = $1', [run])).toEqual([])
    expect(await seconds('publish_at', 'public.agent_task_queue', run)).toBe(20)
    expect(await seconds('due_at', 'public.agent_task_queue', run)).toBe(-0)
  })
})

describe('a message with a resume', () => {
  const contents = async (who: Principal, run: string) =>
    (await read(f, who, run)).messages.filter(({ role }) => role === 'user').map(({ content }) => content)

  it('is written once, where there is one', async () => {
    const who = someone()
    const run = await plannedRun(f, who)
    await f.front.pauseRun(ids(who, run))
    await f.front.resumeRun({ ...ids(who, run), user_input: null })
    await f.front.pauseRun(ids(who, run))
    await f.front.resumeRun({ ...ids(who, run), user_input: '' })
    expect(await contents(who, run)).toEqual(['please'])
    await f.front.pauseRun(ids(who, run))
    await f.front.resumeRun({ ...ids(who, run), user_input: 'hurry' })
    expect(await contents(who, run)).toEqual(['please', 'hurry'])
  })

  it('stands before the next step that asks the model', async () => {
    const who = someone()
    const numbers = async (run: string) =>
      (
        await f.sql(`select step_number from public.agent_messages where run_id = $1 and content = 'hurry'`, [
          run,
        ])
      ).map((row) => row.step_number)
    const deciding = await plannedRun(f, who)
    await f.front.pauseRun(ids(who, deciding))
    await f.front.resumeRun({ ...ids(who, deciding), user_input: 'hurry' })
    expect(await numbers(deciding)).toEqual([1])
    // steps 2 and 3 are tools: what follows them is the fifth step
    const working = await runWithTools(f, who, [toolStep('a'), toolStep('b')])
    await f.front.pauseRun(ids(who, working))
    await f.front.resumeRun({ ...ids(who, working), user_input: 'hurry' })
    expect(await numbers(working)).toEqual([4])
  })
})

it('the end of a run takes its own jobs and what was out of its own', async () => {
  const who = someone()
  const run = await runWithTools(f, who, [toolStep('a'), toolStep('b'), toolStep('c')])
  const other = await runWithTools(f, who, [toolStep('a'), toolStep('b'), toolStep('c')])
  for (const [of, n] of [
    [run, 2],
    [run, 3],
    [other, 4],
  ] as const) {
    const { step } = await claim(f, of, n)
    await f.step.parkStep({
      ...step,
      job_name: `run-${of}-${n}`,
      token_sha256: sha(`${n}`),
      deadline_seconds: 600,
      check_seconds: 60,
    })
  }
  await f.step.finishJob({
    run_id: run,
    step_number: 3,
    token_sha256: sha('3'),
    body_sha256: sha('b'),
    commit: toolCommit(),
  })
  const ended = () =>
    f.sql('select finished_at from private.waits where run_id = $1 and step_number = 3', [run])
  const before = await ended()
  const { jobs, publications } = await f.front.cancelRun(ids(who, run))
  expect(await ended()).toEqual(before)
  expect(jobs).toEqual([`run-${run}-2`])
  expect(publications).toMatchObject([{ run_id: run, step_number: 2, publication: 2, delay_seconds: 0 }])
  expect(
    await f.sql(
      `select job_name from private.jobs_to_remove where job_name like '%' || $1 || '%' or job_name like '%' || $2 || '%'`,
      [run, other],
    ),
  ).toEqual([{ job_name: `run-${run}-2` }])
  // a call that never began costs nothing, whoever has a job out at the same number
  expect(
    await f.sql('select kind from private.credit_ledger where run_id = $1 and step_number = 4 order by id', [
      run,
    ]),
  ).toEqual([{ kind: 'reserve' }, { kind: 'refund' }])
  const asked = await plannedRun(f, who)
  await carryOut(
    f,
    asked,
    1,
    commitOf({ next: { kind: 'wait_user', question: '?', steps: [toolStep('x')] } }),
  )
  expect(await f.front.cancelRun(ids(who, asked))).toMatchObject({ jobs: [], publications: [] })
  // nor does what waited for its user
  expect(
    await f.sql('select kind from private.credit_ledger where run_id = $1 and step_number = 2 order by id', [
      asked,
    ]),
  ).toEqual([{ kind: 'reserve' }, { kind: 'refund' }])
})

it('a retry takes over the files and connectors of its own run, and those files only that came with it', async () => {
  const who = someone()
  const file = (path: string) => ({ path, sha256: sha('a'), size: 1, mode: 0o644 })
  await f.front.createRun(newRun(who, { connector_ids: ['other'], files: [file('other')] }))
  const run = await runWithTools(f, who, [toolStep('t')], {
    connector_ids: ['github'],
    files: [file('inputs/a')],
    attachments: [{ path: 'inputs/a', name: 'a', bucket: 'b', size: 1 }],
  })
  await carryOut(f, run, 2, toolCommit({ files: { put: [file('outputs/b')], removed: [] } }))
  await f.front.cancelRun(ids(who, run))
  const retried = await f.front.retryRun({
    ...ids(who, run),
    limits: { max_steps: 5, timeout_seconds: 60 },
    opening_credits: 1,
    idempotency: null,
  })
  const stored = async (text: string) => (await f.sql(text, [retried.run.id])).map((row) => row.v)
  expect(await stored('select connector_id as v from public.agent_run_connectors where run_id = $1')).toEqual(
    ['github'],
  )
  expect(await stored('select path as v from private.workspace_files where run_id = $1')).toEqual([
    'inputs/a',
  ])
  expect(await stored('select attachments as v from public.agent_messages where run_id = $1')).toMatchObject([
    [{ path: 'inputs/a' }],
  ])
})

it('what the model is asked after a no costs what it costs in its own run', async () => {
  const who = someone()
  const asks = (cost_units: number) => ({ ...modelStep('decide', 1), cost_units })
  const costs = async (run: string) =>
    (
      await f.sql(
        `select cost::int as cost from private.steps where run_id = $1 and kind = 'model' order by step_number`,
        [run],
      )
    ).map(({ cost }) => cost)
  const other = await plannedRun(f, who)
  for (const n of [1, 2, 3, 4])
    await carryOut(f, other, n, commitOf({ next: { kind: 'steps', steps: [asks(70_000 + n)] } }))
  const run = await plannedRun(f, who)
  await carryOut(f, run, 1, commitOf({ next: { kind: 'steps', steps: [asks(30_000)] } }))
  await carryOut(
    f,
    run,
    2,
    commitOf({
      next: { kind: 'wait_approval', question: '?', steps: [toolStep('a', { needs_approval: true })] },
    }),
  )
  const [open] = (await read(f, who, run)).approvals
  const approval_id = open?.approval_id ?? 'none is open'
  await f.front.answerApproval({ ...ids(who, run), approval_id, approved: false, message: null })
  expect((await costs(run)).slice(2)).toEqual([30_000, 30_000])
})

it('a create by code that tells no protocol makes a run of the first', async () => {
  const { opening_credits: _, ...input } = newRun(someone())
  const asked = { ...input, opening_units: 10_000_000, first_step: modelStep('plan', 0) }
  const [made] = await f.sql('select public.agent_create_run($1) as answer', [JSON.stringify(asked)])
  expect(await f.sql('select protocol from private.runs where run_id = $1', [made.answer.run.id])).toEqual([
    { protocol: 1 },
  ])
})

it('a create by newer code makes a run of its protocol, and no other', async () => {
  const { opening_credits: _, ...input } = newRun(someone())
  const asked = { ...input, opening_units: 10_000_000, first_step: modelStep('plan', 0) }
  const runs: string[] = []
  for (const protocol of [1, 7]) {
    const [made] = await f.sql('select public.agent_create_run($1) as answer', [
      JSON.stringify({ ...asked, protocol }),
    ])
    runs.push(made.answer.run.id)
  }
  expect(
    await f.sql(
      'select protocol from private.runs where run_id = any ($1) order by array_position($1, run_id)',
      [runs],
    ),
  ).toEqual([{ protocol: 1 }, { protocol: 7 }])
})

it('a start hands out what is due and was never claimed, of its own run', async () => {
  const who = someone()
  const other = (await f.front.createRun(newRun(who))).run
  const run = await runWithTools(f, who, [toolStep('a'), toolStep('b'), toolStep('c')])
  const { step } = await claim(f, run, 2)
  await f.step.releaseStep({ ...step, delay_seconds: 300, error: 'x', free: false })
  await f.sql(
    `update public.agent_task_queue set due_at = now() + interval '1 hour' where run_id = $1 and step_number = 4`,
    [run],
  )
  const { publications } = await f.front.startRun(ids(who, run))
  expect(publications).toMatchObject([{ run_id: run, step_number: 3 }])
  expect((await f.front.startRun(ids(who, other.id))).publications).toMatchObject([{ run_id: other.id }])
})

it('a ticket names its own principal among those of one issuer and one subject', async () => {
  const who = someone({ issuer: 'https://one.example', user_id_from: 'new' })
  const others = [
    { ...who, issuer: 'https://another.example' },
    { ...who, sub: randomUUID() },
  ]
  for (const other of others) await f.front.createRun(newRun(other))
  const { run } = await f.front.createRun(newRun(who))
  for (const other of others)
    await f.front.prepareCreate({ principal: other, idempotency: null, opening_credits: 1 })
  const ticket = { ticket_sha256: randomUUID(), run_id: run.id }
  await f.front.issueTicket({ principal: who, ...ticket, expires_at: '2099-01-01T00:00:00Z' })
  expect((await f.front.useTicket(ticket)).principal).toMatchObject({
    issuer: who.issuer,
    sub: who.sub,
    user_id_from: 'new',
  })
  await f.front.closeTicket({ ...ticket, run_id: randomUUID() })
  await f.front.closeTicket({ ...ticket, ticket_sha256: randomUUID() })
  expect((await f.front.useTicket(ticket)).delivered).toBe(false)
})
