import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import {
  claim,
  newRun,
  plannedRun,
  read,
  runWithTools,
  sha,
  someone,
  toolStep,
} from '../../shared/ports/store-kit.suite.ts'
import { type DirectFixture, directFixture } from './direct-fixture.ts'

// Guards of the sweeper, each seen where only it stands in the way.

let f: DirectFixture
beforeAll(async () => {
  f = await directFixture()
})
afterEach(async () => {
  expect(await f.violations()).toEqual([])
})
afterAll(() => f.close())

const who = someone()
const waitingToBeChecked = async () =>
  (await f.sql('select run_id from private.runs_to_check')).map(({ run_id }) => String(run_id))

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
    const release = await f.holding('select from private.runs where run_id = $1 for update', [runs[0]])
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
    const release = await f.holding('select from private.runs where run_id = $1 for update', [runs[0]])
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
    const release = await f.holding('select from public.agent_task_queue where run_id = $1 for update', [
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
    const release = await f.holding('select from public.agent_task_queue where run_id = $1 for update', [
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
    const release = await f.holding(
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
    const round = await f.holding('select from private.check_round for update', [])
    await sweep().finally(round)
    expect(new Set(await waitingToBeChecked())).toEqual(new Set(runs))
    const one = await f.holding('select from private.runs_to_check where run_id = $1 for update', [runs[0]])
    await sweep().finally(one)
    expect(await waitingToBeChecked()).toEqual([runs[0]])
  })
})

/** A pass of the sweeper that is held up where it looks up rows of the table, until something else was done meanwhile. */
async function heldUp<T>(
  table: string,
  pass: () => Promise<T>,
  meanwhile: () => Promise<unknown>,
): Promise<T> {
  const LOCK = 4712
  await f.sql(`create function public.held_up() returns boolean language plpgsql as
    $$ begin perform pg_advisory_xact_lock_shared(${LOCK}); return true; end $$`)
  const [security] = await f.sql('select relrowsecurity as on from pg_class where oid = $1::regclass', [
    table,
  ])
  await f.sql(`create policy held_up on ${table} as restrictive using (public.held_up())`)
  // a table that had no policy lets nobody through but by one
  if (!security?.on) await f.sql(`create policy held_up_all on ${table} using (true)`)
  await f.sql(`alter table ${table} enable row level security`)
  try {
    const release = await f.holding(`select pg_advisory_xact_lock(${LOCK})`)
    const passing = pass()
    try {
      await expect
        .poll(
          () => f.sql(`select from pg_locks where locktype = 'advisory' and objid = ${LOCK} and not granted`),
          { timeout: 5000 },
        )
        .toHaveLength(1)
      await meanwhile()
    } finally {
      await release()
    }
    return await passing
  } finally {
    if (!security?.on) await f.sql(`alter table ${table} disable row level security`)
    await f.sql(`drop policy if exists held_up_all on ${table}`)
    await f.sql('drop function public.held_up() cascade')
  }
}

it('a step that was put off since the due ones were looked up is not published', async () => {
  const run = await plannedRun(f, who)
  await f.sql('update public.agent_task_queue set publish_at = now() where run_id = $1', [run])
  // everything else of the pass is left out, and what looks up the due ones is held up before it locks them
  const [sweep] = await f.sql(`select pg_get_functiondef('public.agent_sweep(jsonb)'::regprocedure) as text`)
  await f.sql(`create or replace function public.agent_sweep(p jsonb) returns jsonb language sql security definer set search_path to '' as
    $$ select '{"failed": 0, "violations": 0}'::jsonb $$`)
  try {
    const { publications } = await heldUp(
      'public.agent_task_queue',
      () => f.step.sweepDue({ limit: 200 }),
      () =>
        f.sql(
          `update public.agent_task_queue set publish_at = now() + interval '1 minute' where run_id = $1`,
          [run],
        ),
    )
    expect(publications.map(({ run_id }) => run_id)).not.toContain(run)
    expect(await f.publishedIn(run, 1)).toBe(60)
  } finally {
    await f.sql(String(sweep?.text))
  }
})

it('a run whose time was lengthened since those at their end were looked up goes on', async () => {
  const run = await plannedRun(f, who)
  const deadline = (time: string) =>
    f.sql(`update private.runs set deadline_at = now() + $2::interval where run_id = $1`, [run, time])
  await deadline('-1 second')
  await heldUp(
    'private.runs',
    () => f.sweep(),
    () => deadline('1 hour'),
  )
  expect((await read(f, who, run)).run.status).toBe('executing')
})

it('a step that nobody takes is published again after five minutes at the latest', async () => {
  const run = await plannedRun(f, who)
  await f.sql('update public.agent_task_queue set publish_at = now(), publication = 3000 where run_id = $1', [
    run,
  ])
  await f.step.sweepDue({ limit: 200 })
  expect(await f.publishedIn(run, 1)).toBe(300)
})

it('what is not due takes no turn from what is', async () => {
  for (let due = 1; due > 0; ) due = (await f.step.sweepDue({ limit: 200 })).publications.length
  const run = await runWithTools(f, someone(), [toolStep('a'), toolStep('b')])
  await plannedRun(f, someone())
  await f.sql('update public.agent_task_queue set publish_at = now() where run_id = $1', [run])
  const { publications } = await f.step.sweepDue({ limit: 2 })
  expect(publications.map(({ run_id }) => run_id)).toEqual([run, run])
})

it('a job that is to be asked for later is not due, nor a finding that was told', async () => {
  const due = async () => (await f.sweep()).due
  const before = await due()
  const [later, now] = [crypto.randomUUID(), crypto.randomUUID()]
  await f.sql(
    `insert into private.jobs_to_remove (job_name, requested_at) values ($1, now() + interval '1 hour')`,
    [later],
  )
  expect(await due()).toBe(before)
  await f.sql('insert into private.jobs_to_remove (job_name) values ($1)', [now])
  expect(await due()).toBe(before + 1)
  // nor a finding that has been told
  await f.sql(
    `insert into private.violations (invariant, detail, reported_at) values ('test', 'told', now()), ('test', 'new', null)`,
  )
  expect(await due()).toBe(before + 2)
  await f.sql(`delete from private.violations where invariant = 'test'`)
  await f.sql('delete from private.jobs_to_remove where job_name = any ($1)', [[later, now]])
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

it('a job to remove is handed out twice at most, and not at once', async () => {
  const name = crypto.randomUUID()
  await f.sql('insert into private.jobs_to_remove (job_name) values ($1)', [name])
  const handed = async () => {
    const { jobs_to_remove } = await f.step.sweepDue({ limit: 200 })
    return jobs_to_remove.includes(name)
  }
  const later = () =>
    f.sql('update private.jobs_to_remove set requested_at = now() where job_name = $1', [name])
  expect([await handed(), await handed()]).toEqual([true, false])
  await later()
  expect(await handed()).toBe(true)
  await later()
  expect(await handed()).toBe(false)
})

it('of what has ended no more is looked at in a pass than about five thousand steps', async () => {
  while ((await waitingToBeChecked()).length > 0) await f.sweep()
  const runs: string[] = []
  for (let n = 0; n < 2; n++) {
    const { run } = await f.front.createRun(newRun(who))
    await f.front.cancelRun({ principal: who, run_id: run.id })
    runs.push(run.id)
  }
  await f.sql('update private.runs set next_step = next_step + 5000 where run_id = $1', [runs[0]])
  await f.sweep()
  expect(await waitingToBeChecked()).toEqual([runs[1]])
  await f.sweep()
  expect(await waitingToBeChecked()).toEqual([])
  await f.sql('update private.runs set next_step = next_step - 5000 where run_id = $1', [runs[0]])
  await f.sql('delete from private.violations')
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
  await f.sweep().finally(() => f.sql('drop function private.refuse() cascade'))
  expect(
    await f.sql(
      `select round(extract(epoch from lease_until - clock_timestamp()) / 30)::int * 30 as s from private.steps
       where run_id = any ($1) and lease_until is not null order by array_position($1, run_id), step_number`,
      [[run, bystander]],
    ),
  ).toEqual([{ s: 60 }, { s: 600 }, { s: 600 }])
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
  const release = await f.holding(`select from private.violations where detail = 'held' for update`, [])
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
