import { afterAll, beforeAll, expect, it } from 'vitest'
import { sweep } from '../../shared/engine/sweep.ts'
import type { Log, LogFields } from '../../shared/ports/log.ts'
import { advanceDatabase } from './advance-database.ts'
import { type Engine, engine, principal, say, script, silentLog } from './harness.ts'

let e: Engine
const told: LogFields[] = []

beforeAll(async () => {
  e = await engine(script([[say('End.')]]))
  const log: Log = { ...silentLog, error: (fields) => void told.push(fields), child: () => log }
  e.deps.log = log
  // stands for any fault of one row: these runs cannot be ended or settled
  await e.project.sql(`create table private.stuck (run_id uuid primary key)`)
  await e.project.sql(`grant select on private.stuck to agent_engine`)
  await e.project.sql(`create function private.refuse() returns trigger language plpgsql as $$ begin
    if exists (select 1 from private.stuck where run_id = new.run_id) then raise 'no room'; end if; return new; end $$`)
  await e.project.sql(
    `create trigger refuse before insert on private.credit_ledger for each row execute function private.refuse()`,
  )
  await e.project.sql(
    `create trigger refuse before insert on public.agent_task_logs for each row execute function private.refuse()`,
  )
})
afterAll(() => e.close())

const pass = async () => {
  const [row] = await e.project.sql<{ swept: Record<string, number> }>(
    `select public.agent_sweep('{}') as swept`,
  )
  return row?.swept ?? {}
}
const advance = (seconds: number) => advanceDatabase((text, values) => e.project.sql(text, values), seconds)
const fault = async (run: string) =>
  (await e.project.sql('select what, error, times from private.sweep_faults where run_id = $1', [run]))[0]
const stick = (run: string) => e.project.sql('insert into private.stuck values ($1)', [run])
const free = (run: string) => e.project.sql('delete from private.stuck where run_id = $1', [run])

it('a run that cannot be ended holds nobody back, is noted, and is tried again a minute later', async () => {
  const stuck = (await e.create(principal())).run.id
  const other = (await e.create(principal())).run.id
  await stick(stuck)
  await advance(601)
  expect(await pass()).toMatchObject({ ended: 1, failed: 1 })
  expect([(await e.run(stuck)).status, (await e.run(other)).status]).toEqual(['queued', 'timeout'])
  expect(await fault(stuck)).toEqual({ what: 'end', error: 'P0001 no room', times: 1 })
  expect(await pass()).toMatchObject({ ended: 0, failed: 0 })
  await advance(61)
  const swept = await sweep(e.deps)
  expect(swept.failed).toBe(1)
  expect(told).toContainEqual({ code: 'sweep_failed', count: 1 })
  expect(await fault(stuck)).toMatchObject({ times: 2 })
  await free(stuck)
  await advance(61)
  expect(await pass()).toMatchObject({ ended: 1, failed: 0 })
  expect((await e.run(stuck)).status).toBe('timeout')
  expect(await e.violations()).toEqual([])
})

it('an attempt that cannot be settled holds no other back', async () => {
  const who = principal()
  const [stuck, other] = [(await e.create(who)).run.id, (await e.create(who)).run.id]
  for (const run_id of [stuck, other]) {
    await e.store.claimStep({ run_id, step_number: 0, lease_seconds: 5 })
    await e.front.cancelRun({ principal: who, run_id })
  }
  await stick(stuck)
  await advance(6)
  expect(await pass()).toMatchObject({ settled: 1, failed: 1 })
  expect(await fault(stuck)).toMatchObject({ what: 'settle', times: 1 })
  expect(await pass()).toMatchObject({ settled: 0, failed: 0 })
  await free(stuck)
  await advance(61)
  expect(await pass()).toMatchObject({ settled: 1, failed: 0 })
  expect(await e.violations()).toEqual([])
})

it('deadlines are fair: a tenant with more than one pass can end does not keep another from its turn', async () => {
  const many = principal()
  const [first] = await Promise.all(
    Array.from({ length: 210 }, () => e.create(many, { auto_start: false, opening_credits: 10 })),
  )
  const one = (await e.create(principal(), { auto_start: false })).run.id
  const tenant = (await e.run(first?.run.id ?? '')).tenant_id
  await e.project.sql(
    `update private.runs set deadline_at = now() - interval '2 hours' where tenant_id = $1 and deadline_at is not null`,
    [tenant],
  )
  await e.project.sql(`update private.runs set deadline_at = now() - interval '1 second' where run_id = $1`, [
    one,
  ])
  expect(await pass()).toMatchObject({ ended: 200 })
  expect((await e.run(one)).status).toBe('timeout')
  expect(await pass()).toMatchObject({ ended: 11 })
})

it('a broken invariant is found, kept, told once at error level and counted until somebody deletes it', async () => {
  const run = (await e.create(principal())).run.id
  for (let n = 0; n < 20; n++) await pass()
  await e.project.sql('update private.runs set log_seq = log_seq + 1 where run_id = $1', [run])
  const found = await pass()
  expect(found).toMatchObject({ violations: 1 })
  expect(found['due']).toBeGreaterThanOrEqual(1)
  told.length = 0
  expect(await sweep(e.deps)).toMatchObject({ violations: 1 })
  expect(told).toEqual([
    { run_id: run, code: 'invariant_broken', outcome: 'log numbers are dense' },
    { code: 'violations', count: 1 },
  ])
  told.length = 0
  await sweep(e.deps)
  expect(told).toEqual([{ code: 'violations', count: 1 }])
  // healed or not, it stays until somebody has understood it
  await e.project.sql('update private.runs set log_seq = log_seq - 1 where run_id = $1', [run])
  expect((await e.violations()).map(({ invariant }) => invariant)).toEqual([
    'found by the sweeper: log numbers are dense',
  ])
  await e.project.sql('delete from private.violations')
  expect(await pass()).toMatchObject({ violations: 0 })
  expect(await e.violations()).toEqual([])
})

it('every run is looked at once when it has ended, and its user with it', async () => {
  const who = principal()
  const { run } = await e.create(who)
  await e.front.cancelRun({ principal: who, run_id: run.id })
  await e.project.sql(
    'update public.credit_balances set available_credits = available_credits + 1 where user_id = $1',
    [who.sub],
  )
  const waiting = async () => (await e.project.sql('select run_id from private.runs_to_check')).length
  expect(await waiting()).toBeGreaterThan(0)
  for (let n = 0; n < 20 && (await waiting()) > 0; n++) await pass()
  expect(await e.project.sql('select invariant, detail from private.violations')).toEqual([
    { invariant: 'balance is the sum of the ledger', detail: who.sub },
  ])
  await e.project.sql(
    'update public.credit_balances set available_credits = available_credits - 1 where user_id = $1',
    [who.sub],
  )
  await e.project.sql('delete from private.violations')
  await pass()
  expect(await e.violations()).toEqual([])
})
