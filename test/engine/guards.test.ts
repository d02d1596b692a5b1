import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { StoreFixture } from '../../shared/ports/store-fixture.suite.ts'
import {
  answerCommit,
  claim,
  newRun,
  planCommit,
  plannedRun,
  runWithTools,
  sha,
  someone,
  toolCommit,
  toolStep,
} from '../../shared/ports/store-kit.suite.ts'
import { databaseControls } from './database-controls.ts'
import { type Engine, engine, script } from './harness.ts'

let e: Engine
let fixture: StoreFixture

beforeAll(async () => {
  e = await engine(script([]))
  fixture = { front: e.front, step: e.store, ...databaseControls(e.project.sql), close: async () => {} }
})
afterEach(async () => {
  expect(await e.violations()).toEqual([])
})
afterAll(() => e.close())

const TOOLS = [toolStep('a'), toolStep('b'), toolStep('c')]
const parking = { job_name: '', token_sha256: '', deadline_seconds: 600, check_seconds: 10 }
const wait = (run_id: string, step_number: number) => ({
  job_name: `run-${run_id}-${step_number}`,
  token_sha256: sha(`${step_number}`),
})
const job = (run_id: string, step_number: number) => ({
  run_id,
  step_number,
  token_sha256: sha(`${step_number}`),
})

async function park(run_id: string, step_number: number): Promise<void> {
  const held = await claim(fixture, run_id, step_number)
  await e.store.parkStep({ ...held.step, ...parking, ...wait(run_id, step_number) })
}

/** Everything stored about a run, or about one of its steps. */
function stored(run_id: string, step: number | null = null) {
  return e.project.sql(
    `select 'step' as is, to_jsonb(t) as row from private.steps t where run_id = $1 and ($2::int is null or step_number = $2)
     union all select 'visible', to_jsonb(t) from public.agent_steps t where run_id = $1 and ($2::int is null or step_number = $2)
     union all select 'queue', to_jsonb(t) from public.agent_task_queue t where run_id = $1 and ($2::int is null or step_number = $2)
     union all select 'wait', to_jsonb(t) from private.waits t where run_id = $1 and ($2::int is null or step_number = $2)
     union all select 'ledger', to_jsonb(t) from private.credit_ledger t where run_id = $1 and ($2::int is null or step_number = $2)
     union all select 'file', to_jsonb(t) from private.workspace_files t where run_id = $1 and $2::int is null
     union all select 'message', to_jsonb(t) from public.agent_messages t where run_id = $1 and $2::int is null
     union all select 'log', to_jsonb(t) from public.agent_task_logs t where run_id = $1 and $2::int is null
     union all select 'engine', to_jsonb(t) from private.runs t where run_id = $1 and $2::int is null
     union all select 'run', to_jsonb(t) from public.agent_runs t where id = $1 and $2::int is null
     order by 1, 2`,
    [run_id, step],
  )
}

it('what happens to a step touches no other step of its group and no other run', async () => {
  const who = someone()
  const files = [{ path: 'kept.txt', sha256: sha('f'), size: 1, mode: 0o644 }]
  const other = await runWithTools(fixture, someone(), TOOLS, { files })
  await claim(fixture, other, 2)
  await park(other, 3)
  const run = await runWithTools(fixture, who, TOOLS, { files })
  await park(run, 3)
  const [otherBefore, parked, open] = await Promise.all([stored(other), stored(run, 3), stored(run, 4)])
  const ids = { principal: who, run_id: run }
  const fresh = async () => (await claim(fixture, run, 2)).step
  const ways: [string, () => Promise<unknown>][] = [
    ['claim, renew', async () => e.store.renewLease({ ...(await fresh()), lease_seconds: 30 })],
    [
      'lapse',
      () =>
        e.project.sql(`update private.steps set lease_until = now() where run_id = $1 and step_number = 2`, [
          run,
        ]),
    ],
    [
      'release',
      async () => e.store.releaseStep({ ...(await fresh()), delay_seconds: 0, error: 'x', free: false }),
    ],
    ['park', () => park(run, 2)],
    ['start job', () => e.store.startJob(job(run, 2))],
    ['look', () => e.store.checkJob(job(run, 2))],
    [
      'finish job',
      () =>
        e.store.finishJob({
          ...job(run, 2),
          body_sha256: sha('b'),
          commit: toolCommit({
            verified: [sha('e')],
            files: { put: [{ path: 'kept.txt', sha256: sha('e'), size: 2, mode: 0o644 }], removed: [] },
          }),
        }),
    ],
  ]
  for (const [name, way] of ways) {
    await way()
    expect([name, await stored(run, 3), await stored(run, 4)]).toEqual([name, parked, open])
    expect([name, await stored(other)]).toEqual([name, otherBefore])
  }
  await e.front.pauseRun(ids)
  expect(await e.deliver({ run_id: run, step_number: 4 })).toEqual({ outcome: 'paused' })
  // a job that is out is not held
  expect(await stored(run, 3)).toEqual(parked)
  const { publications } = await e.front.resumeRun({ ...ids, user_input: null })
  expect(publications).toMatchObject([{ step_number: 4, publication: 1 }])
  expect(await stored(run, 3)).toEqual(parked)
  const held = await claim(fixture, run, 4)
  await e.front.cancelRun(ids)
  expect(await e.deliver({ run_id: run, step_number: 4 })).toEqual({ outcome: 'final' })
  await e.store.settleAttempt({ ...held.step, tokens_used: 3, used: true })
  expect(await stored(other)).toEqual(otherBefore)
})

describe('a writer waits for the run, and judges what it finds then', () => {
  /** `change` happens in a transaction that holds the run; the writer comes meanwhile and must see it. */
  async function meanwhile<T>(run: string, change: string, writer: () => Promise<T>): Promise<T> {
    const client = new pg.Client({ connectionString: e.project.database.url('postgres') })
    await client.connect()
    try {
      await client.query('begin')
      await client.query('select from private.runs where run_id = $1 for update', [run])
      await client.query(change, [run])
      const writing = writer()
      writing.catch(() => undefined)
      const first = await Promise.race([
        writing.then(
          () => 'written',
          () => 'refused',
        ),
        pause(120),
      ])
      expect(first).toBe('waiting')
      await client.query('commit')
      return await writing
    } finally {
      await client.end()
    }
  }
  const pause = (ms: number) => new Promise<string>((resolve) => setTimeout(resolve, ms, 'waiting'))
  const OTHER_HOLDER =
    'update private.steps set fence = fence + 1, token = gen_random_uuid() where run_id = $1'
  const ENDED = `with e as (update private.runs set deadline_at = null where run_id = $1),
    q as (delete from public.agent_task_queue where run_id = $1), s as (update private.steps set state = 'done' where run_id = $1),
    v as (update public.agent_steps set status = 'cancelled', completed_at = now() where run_id = $1),
    c as (insert into private.credit_ledger (user_id, run_id, step_number, kind, available)
      select user_id, run_id, step_number, 'refund', -available from private.credit_ledger where run_id = $1),
    b as (update public.credit_balances set available_credits = available_credits + 5 where user_id = (select user_id from private.runs where run_id = $1))
    update public.agent_runs set status = 'cancelled', completed_at = now() where id = $1`

  it.each<[string, (f: Awaited<ReturnType<typeof claim>>['step']) => Promise<unknown>, object]>([
    ['commit', (step) => e.store.commitStep({ ...step, commit: planCommit() }), { committed: false }],
    ['renew', (step) => e.store.renewLease({ ...step, lease_seconds: 5 }), { held: false }],
    [
      'release',
      (step) => e.store.releaseStep({ ...step, delay_seconds: 0, error: '', free: false }),
      { committed: false },
    ],
    [
      'park',
      (step) => e.store.parkStep({ ...step, ...parking, ...wait(step.run_id, 0) }),
      { committed: false },
    ],
  ])('%s', async (_name, write, refused) => {
    const { run } = await e.create(someone())
    const { step } = await claim(fixture, run.id, 0)
    expect(await meanwhile(run.id, OTHER_HOLDER, () => write(step))).toMatchObject(refused)
  })

  it('claim', async () => {
    const { run } = await e.create(someone())
    const change = `with s as (update private.steps set fence = 1, attempt = 1, token = gen_random_uuid(), lease_until = clock_timestamp() + interval '1 minute' where run_id = $1)
      update public.agent_task_queue set publish_at = now() + interval '1 minute' where run_id = $1`
    const ask = { run_id: run.id, step_number: 0, lease_seconds: 5 }
    expect(await meanwhile(run.id, change, () => e.store.claimStep(ask))).toMatchObject({ refused: 'leased' })
  })

  it.each<[string, (ids: { principal: ReturnType<typeof someone>; run_id: string }) => Promise<unknown>]>([
    ['cancel', (ids) => e.front.cancelRun(ids)],
    ['pause', (ids) => e.front.pauseRun(ids)],
    ['start', (ids) => e.front.startRun(ids)],
  ])('%s', async (_name, verb) => {
    const who = someone()
    const { run } = await e.create(who)
    const late = meanwhile(run.id, ENDED, () => verb({ principal: who, run_id: run.id }))
    await expect(late).rejects.toMatchObject({ code: 'invalid_state' })
  })

  it('resume', async () => {
    const who = someone()
    const { run } = await e.create(who)
    const ids = { principal: who, run_id: run.id }
    await e.front.pauseRun(ids)
    const late = meanwhile(run.id, ENDED, () => e.front.resumeRun({ ...ids, user_input: null }))
    await expect(late).rejects.toMatchObject({ code: 'invalid_state' })
  })

  it('the end of a job', async () => {
    const run = await runWithTools(fixture, someone(), [toolStep('a')])
    await park(run, 2)
    const change = `update private.waits set token_sha256 = 'another' where run_id = $1`
    const late = meanwhile(run, change, () =>
      e.store.finishJob({ ...job(run, 2), body_sha256: sha('b'), commit: toolCommit() }),
    )
    await expect(late).rejects.toMatchObject({ code: 'unauthorized' })
  })
})

it('an attempt that was in flight at the end is settled once, by the sweeper after its lease or by its holder', async () => {
  const who = someone()
  const { run } = await e.create(who)
  const { step } = await claim(fixture, run.id, 0, 20)
  await e.front.cancelRun({ principal: who, run_id: run.id })
  const state = async () =>
    (await e.project.sql<{ state: string }>('select state from private.steps where run_id = $1', [run.id]))[0]
      ?.state
  await fixture.sweep()
  expect(await state()).toBe('settling')
  await fixture.advance(21)
  await fixture.sweep()
  expect(await state()).toBe('done')
  await e.store.settleAttempt({ ...step, tokens_used: 9, used: true })
  await fixture.sweep()
  expect(await e.run(run.id)).toMatchObject({ total_credits_used: '5.0000', total_tokens_used: '0' })
})

it('an attempt that has not ended is not settled by anybody', async () => {
  const { run } = await e.create(someone())
  const { step } = await claim(fixture, run.id, 0)
  await e.store.settleAttempt({ ...step, tokens_used: 9, used: true })
  expect((await e.store.commitStep({ ...step, commit: planCommit() })).committed).toBe(true)
})

it('only what has passed its deadline is ended, and only what is due is published', async () => {
  const runs = await Promise.all(Array.from({ length: 3 }, () => plannedRun(fixture, someone())))
  const [late, due, idle] = runs.map(String)
  await e.project.sql(`update private.runs set deadline_at = now() where run_id = $1`, [late])
  await e.project.sql(`update public.agent_task_queue set publish_at = now() where run_id = $1`, [due])
  const { publications } = await e.store.sweepDue({ limit: 100 })
  const ours = publications.filter(({ run_id }) => runs.includes(run_id))
  expect(ours).toMatchObject([{ run_id: due, step_number: 1, publication: 1, delay_seconds: 0 }])
  expect((await e.run(late ?? '')).status).toBe('timeout')
  expect((await e.run(idle ?? '')).status).toBe('executing')
  // the next look comes later each time
  const [row] = await e.project.sql<{ seconds: number }>(
    'select extract(epoch from publish_at - now())::float8 as seconds from public.agent_task_queue where run_id = $1',
    [due],
  )
  expect(row?.seconds).toBeGreaterThan(15)
})

it('the end of a run closes the waits of its jobs, and nothing counts after it', async () => {
  const who = someone()
  const run = await runWithTools(fixture, who, [toolStep('a'), toolStep('b')])
  await park(run, 2)
  await e.front.cancelRun({ principal: who, run_id: run })
  const end = { ...job(run, 2), body_sha256: sha('b'), commit: toolCommit() }
  await expect(e.store.finishJob(end)).rejects.toMatchObject({ code: 'already_answered' })
  await expect(e.store.startJob(job(run, 2))).rejects.toMatchObject({ code: 'already_answered' })
  const balance = await e.project.sql(
    `select sum(used)::int as used, sum(-available - used)::int as owed from private.credit_ledger where run_id = $1`,
    [run],
  )
  // the job that was out is charged, the tool that never started is not: plan 5, decide 5, shell 1
  expect(balance).toEqual([{ used: 110_000, owed: 0 }])
})

it('a check that ends a job leaves nothing for its late answer', async () => {
  const run = await runWithTools(fixture, someone(), [toolStep('a')])
  await park(run, 2)
  await fixture.advance(11)
  const { step } = await claim(fixture, run, 2)
  expect(step.job).toMatchObject({ confirmed: false, past_deadline: false })
  expect((await e.store.commitStep({ ...step, commit: toolCommit({ status: 'failed' }) })).committed).toBe(
    true,
  )
  const end = { ...job(run, 2), body_sha256: sha('b'), commit: toolCommit() }
  await expect(e.store.finishJob(end)).rejects.toMatchObject({ code: 'already_answered' })
})

it('a writer whose run has ended writes nothing, whatever it writes', async () => {
  for (const write of ['commit', 'release', 'park'] as const) {
    const who = someone()
    const { run } = await e.create(who)
    const { step } = await claim(fixture, run.id, 0)
    await e.front.cancelRun({ principal: who, run_id: run.id })
    const before = await stored(run.id)
    const answer =
      write === 'commit'
        ? await e.store.commitStep({ ...step, commit: answerCommit() })
        : write === 'release'
          ? await e.store.releaseStep({ ...step, delay_seconds: 0, error: 'x', free: false })
          : await e.store.parkStep({ ...step, ...parking, ...wait(run.id, 0) })
    expect(answer).toMatchObject({ committed: false, run_status: 'cancelled', publications: [] })
    expect(await e.store.renewLease({ ...step, lease_seconds: 5 })).toEqual({ held: false, cancelled: true })
    expect(await stored(run.id)).toEqual(before)
  }
})

it('a run without credit for its first step leaves no trace, and one that is not started reserves nothing', async () => {
  const who = someone()
  await expect(e.front.createRun(newRun(who, { opening_credits: 4 }))).rejects.toMatchObject({
    code: 'insufficient_credits',
  })
  const { run } = await e.front.createRun(newRun(who, { opening_credits: 5, auto_start: false }))
  await e.front.startRun({ principal: who, run_id: run.id })
  expect(await stored(run.id, 0)).toHaveLength(4)
})

it('the jobs of an ended run are handed out to its own message, those of other runs are not', async () => {
  const ended: string[] = []
  for (let n = 0; n < 2; n++) {
    const who = someone()
    const run = await runWithTools(fixture, who, [toolStep('a')])
    await park(run, 2)
    await e.front.cancelRun({ principal: who, run_id: run })
    ended.push(run)
  }
  for (const run of ended) {
    const answer = await e.store.claimStep({ run_id: run, step_number: 2, lease_seconds: 5 })
    expect(answer).toMatchObject({ refused: 'final', jobs_to_remove: [`run-${run}-2`] })
  }
})

it('a ticket that was opened once is over with the token that it stands for', async () => {
  const who = someone()
  const { run } = await e.create(who)
  const ticket = { ticket_sha256: sha('9'), run_id: run.id }
  await e.front.issueTicket({
    principal: who,
    ...ticket,
    expires_at: new Date(Date.now() + 90_000).toISOString(),
  })
  expect(await e.front.useTicket(ticket)).toMatchObject({ connection: 1 })
  await fixture.advance(70)
  expect(await e.front.useTicket(ticket)).toMatchObject({ connection: 2 })
  await fixture.advance(30)
  await expect(e.front.useTicket(ticket)).rejects.toMatchObject({ code: 'unauthorized' })
})

it('a run that is completed has all its phases behind it', async () => {
  const run = await plannedRun(fixture, someone())
  expect((await e.run(run)).current_phase).toBe(1)
  const { step } = await claim(fixture, run, 1)
  await e.store.commitStep({ ...step, commit: answerCommit() })
  expect(await e.run(run)).toMatchObject({ status: 'completed', current_phase: 2 })
})

it('the same subject of another issuer is another user', async () => {
  const one = someone({ issuer: 'https://one.example', user_id_from: 'new' })
  const two = { ...one, issuer: 'https://two.example' }
  const { run } = await e.create(one)
  const ids = { run_id: run.id, steps: null, messages: null, artifacts: null, logs: null }
  await expect(e.front.readRun({ ...ids, principal: two })).rejects.toMatchObject({ code: 'run_not_found' })
  const theirs = (await e.create(two)).run
  expect(theirs.user_id).not.toBe(run.user_id)
  expect((await e.front.readRun({ ...ids, principal: one })).run.id).toBe(run.id)
})

it.each([true, false])(
  'a step given back is on the schedule unless its run is paused: paused %s',
  async (paused) => {
    const who = someone()
    const { run } = await e.create(who)
    const { step } = await claim(fixture, run.id, 0)
    if (paused) await e.front.pauseRun({ principal: who, run_id: run.id })
    const { publications } = await e.store.releaseStep({
      ...step,
      delay_seconds: 30,
      error: 'x',
      free: false,
    })
    expect(publications).toHaveLength(paused ? 0 : 1)
    const [row] = await e.project.sql<{ seconds: number | null }>(
      'select extract(epoch from publish_at - due_at)::float8 as seconds from public.agent_task_queue where run_id = $1',
      [run.id],
    )
    expect(row).toEqual({ seconds: paused ? null : 20 })
  },
)
