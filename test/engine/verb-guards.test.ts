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
  PLAN,
  plannedRun,
  read,
  runWithTools,
  sha,
  someone,
  toolCommit,
  toolStep,
} from '../../shared/ports/store-kit.suite.ts'
import { type DirectFixture, directFixture } from './direct-fixture.ts'

// Guards of fork, retry of a step, delete and the verbs for a tag, each seen where only it stands in the way.

let f: DirectFixture
beforeAll(async () => {
  f = await directFixture()
})
afterEach(async () => {
  expect(await f.violations()).toEqual([])
})
afterAll(() => f.close())

const limits = { max_steps: 20, timeout_seconds: 600 }
const terms = { limits, idempotency: null }
const ids = (principal: Principal, run_id: string) => ({ principal, run_id })
const file = (path: string, letter: string) => ({ path, sha256: sha(letter), size: 1, mode: 0o644 })
/** A run that has ended, and what it made. */
async function ended(who: Principal, artifacts: ReturnType<typeof artifactOf>[] = []): Promise<string> {
  const run = await runWithTools(f, who, [toolStep('a')])
  await carryOut(f, run, 2, toolCommit({ artifacts }))
  await carryOut(f, run, 3, answerCommit())
  return run
}
/** What of the user's is listed for removal. */
const listed = async (who: Principal) =>
  (
    await f.sql(
      `select bucket || ':' || substr(name, 38) as o from private.objects_to_remove where name like $1 order by 1`,
      [`${who.sub}/%`],
    )
  ).map(({ o }) => o)
const question = () =>
  commitOf({ next: { kind: 'wait_user', question: '?', steps: [modelStep('decide', 1)] } })

describe('fork', () => {
  const fork = (who: Principal, run: string, from_step: number, message: string | null = null) =>
    f.front.forkRun({ ...ids(who, run), from_step, message, ...terms })
  const statuses = async (who: Principal, run: string) =>
    (await read(f, who, run)).logs.flatMap(({ metadata }) =>
      metadata['event'] === 'run' ? [(metadata['data'] as { status: string }).status] : [],
    )

  it('of a run that was made by the earlier design is refused, though it can be read', async () => {
    const who = someone()
    await f.front.prepareCreate({ principal: who, idempotency: null, opening_credits: 1 })
    const [run] = await f.sql(
      `insert into public.agent_runs (user_id, prompt, status) values ($1, 'old', 'failed') returning id`,
      [who.sub],
    )
    expect((await read(f, who, run.id)).run.prompt).toBe('old')
    await expect(fork(who, run.id, 0)).rejects.toMatchObject({ code: 'invalid_state' })
  })

  it('tells in its log where it begins', async () => {
    const who = someone()
    const run = await plannedRun(f, who)
    await carryOut(f, run, 1, answerCommit())
    expect(await statuses(who, (await fork(who, run, 1)).run.id)).toEqual(['executing'])
    expect(await statuses(who, (await fork(who, run, 0)).run.id)).toEqual(['queued'])
  })

  it('counts what succeeded and what failed before it', async () => {
    const who = someone()
    const run = await runWithTools(f, who, [toolStep('a'), toolStep('b')])
    await carryOut(f, run, 2, toolCommit({ status: 'failed' }))
    await carryOut(f, run, 3, toolCommit())
    const { run: made } = await fork(who, run, 4)
    expect(made).toMatchObject({ completed_steps: 3, failed_steps: 1, total_steps: 5 })
  })

  it('takes no plan from a step that failed, nor from a step that plans nothing', async () => {
    const who = someone()
    const { run } = await f.front.createRun(newRun(who))
    const next = { kind: 'steps' as const, steps: [modelStep('replan', 0)] }
    await carryOut(f, run.id, 0, commitOf({ status: 'failed', output: { plan: PLAN }, next }))
    expect((await fork(who, run.id, 1)).run).toMatchObject({ plan: null, status: 'queued' })
    const second = { ...PLAN, goal: 'Second' }
    await carryOut(
      f,
      run.id,
      1,
      commitOf({
        output: { plan: PLAN },
        plan: PLAN,
        current_phase: 1,
        next: { kind: 'steps', steps: [modelStep('decide', 1)] },
      }),
    )
    await carryOut(
      f,
      run.id,
      2,
      commitOf({ output: { plan: second }, next: { kind: 'steps', steps: [modelStep('decide', 1)] } }),
    )
    const [made, before] = [await fork(who, run.id, 3), await fork(who, run.id, 1)]
    expect(made.run.plan?.goal).toBe(PLAN.goal)
    expect(before.run.plan).toBeNull()
  })

  it('beside an open member of the group is refused, at a step before an open question it is not', async () => {
    const who = someone()
    const run = await runWithTools(f, who, [toolStep('a'), toolStep('b')])
    await carryOut(f, run, 3, toolCommit())
    await expect(fork(who, run, 3)).rejects.toMatchObject({ code: 'invalid_state' })
    const asked = await plannedRun(f, who)
    await carryOut(f, asked, 1, question())
    expect((await fork(who, asked, 1)).run.total_steps).toBe(2)
  })

  it('brings what was said before it, and of what was said at it what the message does not replace', async () => {
    const who = someone()
    const run = await plannedRun(f, who)
    const said = async (input: string) => {
      await f.front.pauseRun(ids(who, run))
      await f.front.resumeRun({ ...ids(who, run), user_input: input })
    }
    await said('one')
    await carryOut(f, run, 1, commitOf({ next: { kind: 'steps', steps: [modelStep('decide', 1)] } }))
    await said('two')
    await carryOut(f, run, 2, commitOf({ next: { kind: 'steps', steps: [modelStep('decide', 1)] } }))
    await said('three')
    const contents = async (from: number, message: string | null) => {
      const made = await fork(who, run, from, message)
      const { messages } = await read(f, who, made.run.id)
      expect(await f.sql('select messages from private.runs where run_id = $1', [made.run.id])).toEqual([
        { messages: messages.length },
      ])
      return messages.map(({ content }) => content)
    }
    expect(await contents(2, null)).toEqual(['please', 'one', 'two'])
    expect(await contents(2, 'new')).toEqual(['please', 'one', 'new'])
    expect(await contents(1, null)).toEqual(['please', 'one'])
    expect(await contents(0, null)).toEqual(['please'])
    expect(await contents(0, 'new')).toEqual(['new'])
  })

  it('keeps the prompt, but where the message takes its place', async () => {
    const who = someone()
    const run = await plannedRun(f, who)
    for (const [from, prompt] of [
      [0, 'new'],
      [1, 'please'],
    ] as const)
      expect((await fork(who, run, from, 'new')).run.prompt).toBe(prompt)
  })

  it('takes over the connectors of its own run', async () => {
    const who = someone()
    await f.front.createRun(newRun(who, { connector_ids: ['other'] }))
    const run = await plannedRun(f, who, { connector_ids: ['own'] })
    const forked = await fork(who, run, 1)
    expect(
      await f.sql('select connector_id from public.agent_run_connectors where run_id = $1', [forked.run.id]),
    ).toEqual([{ connector_id: 'own' }])
  })

  it('counts of each file the version that it has, not those before', async () => {
    const who = someone()
    const run = await runWithTools(f, who, [toolStep('a')])
    const wrote = (letter: string) =>
      toolCommit({ verified: [sha(letter)], files: { put: [file('b.txt', letter)], removed: [] } })
    await carryOut(f, run, 2, wrote('d'))
    await carryOut(f, run, 3, commitOf({ next: { kind: 'steps', steps: [toolStep('b')] } }))
    await carryOut(f, run, 4, wrote('e'))
    const forked = await fork(who, run, 5)
    expect(
      await f.sql('select files, bytes::int from private.runs where run_id = $1', [forked.run.id]),
    ).toEqual([{ files: 1, bytes: 1 }])
    // and of each version it is known which one took its place
    await carryOut(f, run, 5, commitOf({ next: { kind: 'steps', steps: [toolStep('c')] } }))
    await carryOut(f, run, 6, wrote('f'))
    expect(
      await f.sql(
        'select from_step, to_step from private.workspace_files where run_id = $1 order by from_step',
        [run],
      ),
    ).toEqual([
      { from_step: 2, to_step: 4 },
      { from_step: 4, to_step: 6 },
      { from_step: 6, to_step: null },
    ])
  })

  it('repeats by its own key only, and writes none without', async () => {
    const who = someone()
    const run = await plannedRun(f, who)
    await carryOut(f, run, 1, answerCommit())
    const first = await fork(who, run, 1)
    expect((await fork(who, run, 1)).run.id).not.toBe(first.run.id)
    expect(await f.sql('select from private.idempotency_keys where user_id = $1', [who.sub])).toEqual([])
  })

  it('of a group does its member and those after it, which all end before the model goes on', async () => {
    const who = someone()
    const run = await runWithTools(f, who, [toolStep('a'), toolStep('b'), toolStep('c')])
    for (const n of [2, 3, 4]) await carryOut(f, run, n, toolCommit())
    await carryOut(f, run, 5, commitOf({ next: { kind: 'steps', steps: [toolStep('d')] } }))
    const { run: made } = await fork(who, run, 3)
    expect(made.total_steps).toBe(5)
    expect((await carryOut(f, made.id, 4, toolCommit())).publications).toEqual([])
    expect((await carryOut(f, made.id, 3, toolCommit())).publications).toMatchObject([{ step_number: 5 }])
    // the last group of a run that has gone no further
    const { run: last } = await fork(who, run, 6)
    expect((await carryOut(f, last.id, 6, toolCommit())).publications).toMatchObject([{ step_number: 7 }])
  })
})

describe('retry of a step', () => {
  const retry = (who: Principal, run: string, step_number: number) =>
    f.front.retryStep({ ...ids(who, run), step_number, ...terms })
  const failedOnce = async (run: string, n: number) => {
    const { step } = await claim(f, run, n)
    await f.step.releaseStep({ ...step, delay_seconds: 300, error: 'busy', free: false })
  }
  const queue = async (run: string) =>
    await f.sql(
      `select q.step_number, q.publication, q.due_at > clock_timestamp() + interval '1 minute' as later, q.publish_at is not null as scheduled, s.attempt
       from public.agent_task_queue q join private.steps s using (run_id, step_number) where run_id = $1 order by 1`,
      [run],
    )
  const waits = (step_number: number) => ({
    step_number,
    publication: 1,
    later: true,
    scheduled: true,
    attempt: 1,
  })
  const due = (step_number: number) => ({
    step_number,
    publication: 2,
    later: false,
    scheduled: true,
    attempt: 0,
  })

  it('is of that step, not of the others of its group', async () => {
    const who = someone()
    const run = await runWithTools(f, who, [toolStep('a'), toolStep('b')])
    await failedOnce(run, 2)
    await failedOnce(run, 3)
    // nor of another run, which may be paused
    await f.front.pauseRun(ids(who, await plannedRun(f, who)))
    expect(await queue(run)).toEqual([waits(2), waits(3)])
    expect((await retry(who, run, 3)).publications).toMatchObject([
      { step_number: 3, publication: 2, delay_seconds: 0 },
    ])
    expect(await queue(run)).toEqual([waits(2), due(3)])
    expect([await f.publishedIn(run, 2), await f.publishedIn(run, 3)]).toEqual([320, 20])
  })

  it('that failed in its last attempt is a fork, also when an attempt before had failed', async () => {
    const who = someone()
    const run = await runWithTools(f, who, [toolStep('a')])
    await failedOnce(run, 2)
    await f.sql('update public.agent_task_queue set due_at = now() where run_id = $1', [run])
    await carryOut(f, run, 2, toolCommit({ status: 'failed' }))
    expect(await retry(who, run, 2)).toMatchObject({ forked: true, publications: [{ step_number: 2 }] })
  })

  it('that was allowed is done in its place without being asked for again', async () => {
    const who = someone()
    const run = await plannedRun(f, who)
    const steps = [toolStep('a', { needs_approval: true })]
    await carryOut(f, run, 1, commitOf({ next: { kind: 'wait_approval', question: '?', steps } }))
    const [open] = (await read(f, who, run)).approvals
    const approval_id = open?.approval_id ?? 'none is open'
    await f.front.answerApproval({ ...ids(who, run), approval_id, approved: true, message: null })
    await failedOnce(run, 2)
    expect((await retry(who, run, 2)).publications).toMatchObject([{ step_number: 2, delay_seconds: 0 }])
  })

  it('below a pause is not sent before the resume', async () => {
    const who = someone()
    const run = await plannedRun(f, who)
    await failedOnce(run, 1)
    await f.front.pauseRun(ids(who, run))
    expect((await retry(who, run, 1)).publications).toEqual([])
    expect(await queue(run)).toEqual([{ ...due(1), scheduled: false }])
    expect((await f.front.resumeRun({ ...ids(who, run), user_input: null })).publications).toHaveLength(1)
  })

  it('is refused of a step that never failed, is in work, or whose job is out', async () => {
    const who = someone()
    const run = await runWithTools(f, who, [toolStep('a'), toolStep('b'), toolStep('c')])
    await expect(retry(who, run, 2)).rejects.toMatchObject({
      message: 'Cannot retry step in status: pending',
    })
    await failedOnce(run, 3)
    await f.advance(301)
    await claim(f, run, 3)
    await expect(retry(who, run, 3)).rejects.toMatchObject({
      message: 'Cannot retry step in status: running',
    })
    await failedOnce(run, 4)
    await f.advance(301)
    const { step } = await claim(f, run, 4)
    await f.step.parkStep({
      ...step,
      job_name: `run-${run}-4`,
      token_sha256: sha('4'),
      deadline_seconds: 600,
      check_seconds: 60,
    })
    await expect(retry(who, run, 4)).rejects.toMatchObject({
      message: 'Cannot retry step in status: running',
    })
    await expect(retry(who, run, 9)).rejects.toMatchObject({ code: 'invalid_request' })
  })

  it('waits for who changes the run, and judges what it finds then', async () => {
    const who = someone()
    const run = await plannedRun(f, who)
    await failedOnce(run, 1)
    const holder = await lockOf(run)
    const retried = retry(who, run, 1)
    retried.catch(() => undefined)
    await holder.waitedFor()
    await holder.commit(
      `update private.steps set lease_until = clock_timestamp() + interval '1 minute', token = gen_random_uuid() where run_id = '${run}' and step_number = 1`,
    )
    await expect(retried).rejects.toMatchObject({ code: 'invalid_state' })
  })
})

it('an answer whether a call is allowed waits for who changes the run, and judges what it finds then', async () => {
  const who = someone()
  const run = await plannedRun(f, who)
  const steps = ['a', 'b'].map((id) => toolStep(id, { needs_approval: true }))
  await carryOut(f, run, 1, commitOf({ next: { kind: 'wait_approval', question: '?', steps } }))
  const { approvals } = await read(f, who, run)
  const [first, second] = approvals.map(({ approval_id }) => approval_id)
  if (first === undefined || second === undefined) throw new Error('two approvals are not open')
  const allow = (approval_id: string) =>
    f.front.answerApproval({ ...ids(who, run), approval_id, approved: true, message: null })
  const holder = await lockOf(run)
  const answered = allow(first)
  answered.catch(() => undefined)
  await holder.waitedFor()
  await holder.commit(
    `update private.approvals set approved = false, answered_at = clock_timestamp() where id = '${first}'`,
  )
  await expect(answered).rejects.toMatchObject({ code: 'already_answered' })
  await allow(second)
  // who says the same again is told what is due, but not below a pause
  expect((await allow(second)).publications).not.toEqual([])
  await f.front.pauseRun(ids(who, run))
  expect((await allow(second)).publications).toEqual([])
})

/** Holds the row of the run that every writer locks first. */
async function lockOf(run: string, row = 'private.runs where run_id') {
  const client = new pg.Client({ connectionString: f.database.url('postgres') })
  await client.connect()
  await client.query('begin')
  await client.query(`select from ${row} = $1 for update`, [run])
  const waiting = async () =>
    (
      await f.sql(
        `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%agent_%'`,
      )
    ).length
  return {
    waitedFor: () => expect.poll(waiting, { timeout: 10_000 }).toBe(1),
    async commit(text = 'select') {
      await client.query(text)
      await client.query('commit')
      await client.end()
    },
  }
}

describe('delete', () => {
  const withFile = async (who: Principal, letter: string) => {
    const { run } = await f.front.createRun(newRun(who, { files: [file('a', letter)] }))
    await f.front.cancelRun(ids(who, run.id))
    return run.id
  }
  const remove = (who: Principal, run: string) => f.front.deleteRun(ids(who, run))

  it('lists bytes that no other run of this user refers to, whoever else has them', async () => {
    const [who, other] = [someone(), someone()]
    const [one, two] = [await withFile(who, 'c'), await withFile(who, 'c')]
    await withFile(other, 'c')
    await withFile(who, 'd')
    await remove(who, one)
    expect(await listed(who)).toEqual([])
    await remove(who, two)
    expect(await listed(who)).toEqual([`agent-workspaces:${sha('c')}`])
    expect(await listed(other)).toEqual([])
    const [row] = await f.sql(
      `select round(extract(epoch from not_before - now()) / 3600)::int as hours from private.objects_to_remove where name = $1`,
      [`${who.sub}/${sha('c')}`],
    )
    expect(row).toEqual({ hours: 25 })
  })

  it("lists the outputs in the user's own folder that no other run shows", async () => {
    const [who, other] = [someone(), someone()]
    const own = (name: string) => artifactOf(name, `${who.sub}/${name}`)
    const run = await ended(who, [
      own('mine'),
      own('shared'),
      own('foreign'),
      own('bucket'),
      { ...own('moved'), storage_bucket: 'elsewhere' },
      artifactOf('theirs', `${other.sub}/theirs`),
    ])
    await ended(who, [own('shared'), { ...own('bucket'), storage_bucket: 'elsewhere' }])
    // that another user's row names the same key keeps nothing
    await ended(other, [own('foreign')])
    await remove(who, run)
    expect(await listed(who)).toEqual(['agent-outputs:bucket', 'agent-outputs:foreign', 'agent-outputs:mine'])
    expect(await listed(other)).toEqual([])
  })

  it('of what is listed already is no fault', async () => {
    const who = someone()
    const run = await ended(who, [artifactOf('a', `${who.sub}/a`)])
    const kept = await withFile(who, '8')
    await f.sql(
      `insert into private.objects_to_remove (bucket, name) values ('agent-outputs', $1), ('agent-workspaces', $2)`,
      [`${who.sub}/a`, `${who.sub}/${sha('8')}`],
    )
    await remove(who, run)
    await remove(who, kept)
    expect(await listed(who)).toEqual(['agent-outputs:a', `agent-workspaces:${sha('8')}`])
  })

  it('waits for who changes the run, and judges what it finds then', async () => {
    const who = someone()
    const run = await withFile(who, '7')
    const holder = await lockOf(run)
    const removed = remove(who, run)
    removed.catch(() => undefined)
    await holder.waitedFor()
    await holder.commit(`delete from public.agent_runs where id = '${run}'`)
    await expect(removed).rejects.toMatchObject({ code: 'run_not_found' })
  })

  it('of a run of the earlier design waits for who deletes it, and says that it is gone', async () => {
    const who = someone()
    await f.front.prepareCreate({ principal: who, idempotency: null, opening_credits: 1 })
    const [run] = await f.sql(
      `insert into public.agent_runs (user_id, prompt, status) values ($1, 'old', 'failed') returning id`,
      [who.sub],
    )
    const holder = await lockOf(run.id, 'public.agent_runs where id')
    const removed = remove(who, run.id)
    removed.catch(() => undefined)
    await holder.waitedFor()
    await holder.commit(`delete from public.agent_runs where id = '${run.id}'`)
    await expect(removed).rejects.toMatchObject({ code: 'run_not_found' })
  })
})

describe('for all runs of a tag', () => {
  const bulk = (who: Principal, verb: 'stop' | 'pause' | 'resume' | 'retry' | 'delete', tag: string) =>
    f.front.bulkRuns({ principal: who, tag, verb, limits, opening_credits: 1000 })

  it('a retry is done again when somebody else claims to have done it', async () => {
    const who = someone()
    const { run } = await f.front.createRun(newRun(who, { tags: ['t'] }))
    await f.front.cancelRun(ids(who, run.id))
    await f.front.createRun(newRun(someone(), { metadata: { retry_of: run.id } }))
    await f.front.createRun(newRun(who, { metadata: { retry_of: randomUUID() } }))
    expect((await bulk(who, 'retry', 't')).results).toMatchObject([{ run_id: run.id, ok: true }])
  })

  it('waits for its own runs before it does anything, and for no others', async () => {
    const who = someone()
    const made = []
    for (let n = 0; n < 2; n++) made.push((await f.front.createRun(newRun(who, { tags: ['t'] }))).run.id)
    const other = await lockOf((await f.front.createRun(newRun(who))).run.id)
    const [first = '', last = ''] = made.toSorted((a, b) => (a < b ? -1 : 1))
    const holder = await lockOf(last)
    const stopped = bulk(who, 'stop', 't')
    await holder.waitedFor()
    await expect(
      f.sql('select from private.runs where run_id = $1 for update nowait', [first]),
    ).rejects.toMatchObject({ code: '55P03' })
    // nothing is given back yet, whichever of the two would be the first
    expect(
      await f.sql('select user_id from public.credit_balances where user_id = $1 for update nowait', [
        who.sub,
      ]),
    ).toEqual([{ user_id: who.sub }])
    await holder.commit()
    expect((await stopped).results).toHaveLength(2)
    await other.commit()
  })

  it('is one fault when it is a fault of the call', async () => {
    const who = someone()
    const { run } = await f.front.createRun(newRun(who, { tags: ['t'] }))
    await f.front.cancelRun(ids(who, run.id))
    await expect(
      f.sql('select public.agent_bulk_runs($1)', [
        JSON.stringify({
          principal: who,
          tag: 't',
          verb: 'retry',
          limits: {},
          opening_units: 1,
          first_step: modelStep('plan', 0),
        }),
      ]),
    ).rejects.toMatchObject({ code: '23502' })
    await expect(
      f.sql('select public.agent_bulk_runs($1)', [
        JSON.stringify({ principal: who, tag: 't', verb: 'paint' }),
      ]),
    ).rejects.toMatchObject({ code: 'PT400' })
  })

  it('hands back the jobs that were out and says what became of each run', async () => {
    const who = someone()
    const run = await runWithTools(f, who, [toolStep('a')], { tags: ['t'] })
    const { step } = await claim(f, run, 2)
    await f.step.parkStep({
      ...step,
      job_name: `run-${run}-2`,
      token_sha256: sha('2'),
      deadline_seconds: 600,
      check_seconds: 60,
    })
    const stopped = await bulk(who, 'stop', 't')
    expect(stopped).toMatchObject({
      jobs: [`run-${run}-2`],
      publications: [{ run_id: run }],
      has_more: false,
    })
    expect(stopped.results).toEqual([{ run_id: run, ok: true, status: 'cancelled' }])
    const { results } = await bulk(who, 'retry', 't')
    expect(results).toMatchObject([{ run_id: run, ok: true, new_run_id: expect.any(String) }])
  })
})

describe('what the sweeper removes', () => {
  const retire = async (limit: number) =>
    (await f.sql('select private.retire($1) as answer', [limit]))[0].answer
  const mark = (run: string) => f.sql('update public.agent_runs set deleted_at = now() where id = $1', [run])
  const configure = (retention_days: unknown) =>
    f.sql('select public.agent_configure($1)', [JSON.stringify({ retention_days })])
  const expireAndMark = (run: string) =>
    f.sql(
      `update public.agent_artifacts set expires_at = case when filename = 'expired' then now() end,
         deleted_at = case when filename = 'marked' then now() end where run_id = $1`,
      [run],
    )
  const left = async (who: Principal, table: string) =>
    (await f.sql(`select from public.${table} where user_id = $1`, [who.sub])).length

  it('is in one pass as many runs and as many artifacts as it was told', async () => {
    const who = someone()
    await retire(1000)
    await mark(await ended(who))
    await f.sql(`update public.agent_runs set completed_at = now() - interval '31 days' where id = $1`, [
      await ended(who),
    ])
    await expireAndMark(
      await ended(
        who,
        ['expired', 'marked'].map((name) => artifactOf(name, name)),
      ),
    )
    const both = async () => [await left(who, 'agent_runs'), await left(who, 'agent_artifacts')]
    try {
      await configure(30)
      expect(await retire(1)).toEqual({ removed: 1, failed: 0 })
      expect(await both()).toEqual([2, 1])
      await retire(1)
      expect(await both()).toEqual([1, 0])
    } finally {
      await configure(0)
    }
  })

  it('is what has ended, and what was made by what has ended', async () => {
    const who = someone()
    await retire(1000)
    await ended(who)
    const run = await runWithTools(f, who, [toolStep('a'), toolStep('b')])
    await carryOut(f, run, 2, toolCommit({ artifacts: ['expired', 'marked'].map((n) => artifactOf(n)) }))
    await expireAndMark(run)
    await mark(run)
    expect(await retire(1000)).toEqual({ removed: 0, failed: 0 })
    expect([await left(who, 'agent_runs'), await left(who, 'agent_artifacts')]).toEqual([2, 2])
    await f.sql('update public.agent_runs set deleted_at = null where id = $1', [run])
    await f.front.cancelRun(ids(who, run))
    await retire(1000)
    expect([await left(who, 'agent_runs'), await left(who, 'agent_artifacts')]).toEqual([2, 0])
  })

  it('after some days is told to the database in days, which are written when they change', async () => {
    const written = async () => (await f.sql('select value, updated_at::text from private.settings'))[0]
    try {
      await configure(36_500)
      const first = await written()
      expect(first.value).toBe(36_500)
      await configure(36_500)
      expect(await written()).toEqual(first)
      for (const days of [null, -1, 36_501])
        await expect(configure(days), `${days}`).rejects.toMatchObject({ code: 'PT400' })
      expect(await written()).toEqual(first)
      await configure(36_499)
      expect((await written()).updated_at).not.toBe(first.updated_at)
    } finally {
      await configure(0)
    }
    expect((await written()).value).toBe(0)
  })

  it('of artifacts is what lies in the own folder of outputs, where nobody of this user shows it', async () => {
    const [who, other] = [someone(), someone()]
    const own = (name: string) => artifactOf(name, `${who.sub}/${name}`)
    const run = await ended(who, [
      own('mine'),
      own('twice'),
      own('twice'),
      own('listed'),
      own('shared'),
      own('foreign'),
      own('bucket'),
      { ...own('moved'), storage_bucket: 'elsewhere' },
      artifactOf('theirs', `${other.sub}/theirs`),
    ])
    await ended(who, [own('shared'), { ...own('bucket'), storage_bucket: 'elsewhere' }])
    // that another user's row names the same key keeps nothing
    await ended(other, [own('foreign')])
    await f.sql(`insert into private.objects_to_remove (bucket, name) values ('agent-outputs', $1)`, [
      `${who.sub}/listed`,
    ])
    await f.sql('update public.agent_artifacts set expires_at = now() where run_id = $1', [run])
    await retire(1000)
    expect(await listed(who)).toEqual(
      ['bucket', 'foreign', 'listed', 'mine', 'twice'].map((name) => `agent-outputs:${name}`),
    )
    expect(await listed(other)).toEqual([])
  })

  it('is of the earlier design as well', async () => {
    const who = someone()
    await ended(who)
    await f.sql(
      `insert into public.agent_runs (user_id, prompt, status, deleted_at) values ($1, 'old', 'failed', now())`,
      [who.sub],
    )
    await retire(1000)
    expect(await f.sql('select prompt from public.agent_runs where user_id = $1', [who.sub])).toEqual([
      { prompt: 'please' },
    ])
  })

  it.each([
    ['run', 'private.runs where run_id'],
    ['run', 'public.agent_runs where id'],
    ['artifact', 'public.agent_artifacts where run_id'],
  ])('is no %s that somebody holds in %s, for which nobody waits', async (what, row) => {
    const who = someone()
    await retire(1000)
    await ended(who)
    const run = await ended(who, [artifactOf('expired', 'expired')])
    await (what === 'run' ? mark(run) : expireAndMark(run))
    const clients = [1, 2].map(() => new pg.Client({ connectionString: f.database.url('postgres') }))
    const [holder, sweeper] = clients
    await Promise.all(clients.map((client) => client.connect()))
    try {
      await holder?.query('begin')
      await holder?.query(`select from ${row} = $1 for update`, [run])
      // who waits all the same fails
      await sweeper?.query(`set lock_timeout = '1s'`)
      const answer = await sweeper?.query('select private.retire(1000) as answer')
      expect(answer?.rows).toEqual([{ answer: { removed: 0, failed: 0 } }])
      expect(await left(who, 'agent_artifacts')).toBe(1)
      await holder?.query('commit')
      await retire(1000)
      expect(await left(who, 'agent_artifacts')).toBe(0)
    } finally {
      await Promise.all(clients.map((client) => client.end()))
    }
  })
})

describe('bytes to remove', () => {
  const W = 'agent-workspaces'
  const put = (
    bucket: string,
    name: string,
    fields: { due?: string; handed?: string; removed?: string } = {},
  ) =>
    f.sql(
      `insert into private.objects_to_remove (bucket, name, not_before, handed_at, removed_at)
       values ($1, $2, now() + $3::interval, now() + $4::interval, now() + $5::interval)`,
      [bucket, name, fields.due ?? '-1 minute', fields.handed ?? null, fields.removed ?? null],
    )
  const names = async (where = 'true') =>
    (
      await f.sql(
        `select bucket || ':' || name as o from private.objects_to_remove where ${where} order by 1`,
      )
    ).map(({ o }) => o)
  afterEach(async () => {
    await f.sql('delete from private.objects_to_remove')
    // rows put there by hand, which a pass of the sweeper may have looked at
    await f.sql(`delete from private.violations where invariant = 'bytes in use are not being removed'`)
  })

  it('are handed out when due, again after a minute, and forgotten ten minutes after their removal', async () => {
    // what the tests before have left to be published is out of the way
    while ((await f.step.sweepDue({ limit: 200 })).publications.length > 0);
    await f.sql('delete from private.objects_to_remove')
    await put(W, 'due')
    await put('agent-outputs', 'due', { handed: '-30 seconds' })
    await put(W, 'later', { due: '1 minute' })
    await put(W, 'handed', { handed: '-30 seconds' })
    await put(W, 'again', { handed: '-2 minutes' })
    await put(W, 'removed', { handed: '-9 minutes', removed: '-9 minutes' })
    await put(W, 'gone', { handed: '-11 minutes', removed: '-11 minutes' })
    expect((await f.sweep()).due).toBe(2)
    expect(await names()).not.toContain(`${W}:gone`)
    const { objects_to_remove = [] } = await f.step.sweepDue({ limit: 100 })
    expect(objects_to_remove.map(({ name }) => name).toSorted((a, b) => (a < b ? -1 : 1))).toEqual([
      'again',
      'due',
    ])
    expect(await names(`handed_at > now() - interval '10 seconds'`)).toEqual([`${W}:again`, `${W}:due`])
    expect(await names()).toHaveLength(6)
  })

  it('are handed out as many as were asked for, the oldest first', async () => {
    await f.sql('delete from private.objects_to_remove')
    for (const n of [3, 1, 2]) await put(W, `n${n}`, { due: `-${n} minutes` })
    const first = await f.step.sweepDue({ limit: 2 })
    expect(new Set(first.objects_to_remove?.map(({ name }) => name))).toEqual(new Set(['n3', 'n2']))
  })

  it('are marked as removed by bucket and name, where they were handed out', async () => {
    await put(W, 'a', { handed: '-1 second' })
    await put('agent-outputs', 'a', { handed: '-1 second' })
    await put(W, 'b', { handed: '-1 second' })
    await put(W, 'c')
    await f.step.objectsRemoved({ objects: ['a', 'c'].map((name) => ({ bucket: W, name })) })
    expect(await names('removed_at is not null')).toEqual([`${W}:a`])
  })

  it('are kept when they are in use after all: by the owner of the folder, while nobody removes them', async () => {
    await f.sql('delete from private.objects_to_remove')
    const [who, other] = [someone(), someone()]
    for (const letter of ['1', '2', '3', '4'])
      await f.front.createRun(newRun(who, { files: [file('a', letter)] }))
    await put(W, `${who.sub}/${sha('1')}`)
    await put(W, `${who.sub}/${sha('2')}`, { due: '1 minute' })
    await put(W, `${who.sub}/${sha('3')}`, { handed: '-1 second' })
    await put('agent-outputs', `${who.sub}/${sha('4')}`)
    await put(W, `${who.sub}/${sha('5')}`)
    await put(W, `${other.sub}/${sha('1')}`)
    await f.sweep()
    const left = await names()
    expect(left).not.toContain(`${W}:${who.sub}/${sha('1')}`)
    expect(left).toHaveLength(5)
  })

  it('are kept when a run begins to use them, and refused to it while they are removed', async () => {
    const [who, other] = [someone(), someone()]
    const mine = (letter: string) => `${who.sub}/${sha(letter)}`
    await put(W, mine('1'))
    await put(W, mine('2'))
    await put('agent-outputs', mine('1'))
    await put(W, `${other.sub}/${sha('1')}`, { handed: '-1 second' })
    await f.front.createRun(newRun(who, { files: [file('a', '1')] }))
    expect(await names()).toEqual(
      [`agent-outputs:${mine('1')}`, `${W}:${mine('2')}`, `${W}:${other.sub}/${sha('1')}`].toSorted((a, b) =>
        a < b ? -1 : 1,
      ),
    )
    await put(W, mine('3'), { handed: '-1 second' })
    await expect(f.front.createRun(newRun(who, { files: [file('a', '3')] }))).rejects.toMatchObject({
      code: 'unavailable',
    })
    await put('agent-outputs', mine('4'), { handed: '-1 second' })
    await f.front.createRun(newRun(who, { files: [file('a', '4')] }))
  })

  it('are kept for a job that is about to store them, not for one that only asks', async () => {
    const who = someone()
    const run = await runWithTools(f, who, [toolStep('a')])
    const { step } = await claim(f, run, 2)
    await f.step.parkStep({
      ...step,
      job_name: `run-${run}-2`,
      token_sha256: sha('2'),
      deadline_seconds: 600,
      check_seconds: 60,
    })
    const look = { run_id: run, step_number: 2, token_sha256: sha('2'), sha256: sha('6') }
    await put(W, `${who.sub}/${sha('6')}`)
    await f.step.checkJob(look)
    expect(await names()).toHaveLength(1)
    await f.step.checkJob({ ...look, storing: true })
    expect(await names()).toEqual([])
    await put(W, `${who.sub}/${sha('6')}`, { handed: '-1 second' })
    await f.step.checkJob(look)
    await expect(f.step.checkJob({ ...look, storing: true })).rejects.toMatchObject({ code: 'unavailable' })
  })
})
