import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { MemoryReply } from '../../shared/adapters/memory/model.ts'
import { createFrontStore } from '../../shared/adapters/supabase/front-store.ts'
import { createStepStore } from '../../shared/adapters/supabase/step-store.ts'
import { removeObjects } from '../../shared/adapters/supabase/storage.ts'
import { cancelFlag, runChannel, watchFlag } from '../../shared/contract/live.ts'
import { deleteRun } from '../../shared/engine/delete-run.ts'
import { sweep } from '../../shared/engine/sweep.ts'
import type { Caller, Principal } from '../../shared/ports/identity.ts'
import type { ModelRequest } from '../../shared/ports/model.ts'
import { call, type Engine, engine, principal, say, script, silentLog } from './harness.ts'

let respond: (request: ModelRequest) => MemoryReply = script([])
let e: Engine

beforeAll(async () => {
  e = await engine((request) => respond(request))
  const step = {
    url: e.project.origin,
    anonKey: e.project.anonKey,
    roleToken: await e.project.mintRoleToken({ role: 'agent_step' }),
    timeoutMs: 10_000,
  }
  const store = createStepStore(step)
  e.deps.objects = {
    remove: (listed) => removeObjects(step, listed),
    confirm: (objects) => store.objectsRemoved({ objects }),
  }
  e.deps.retention = () => store.setRetention({ days: 30 })
})
afterEach(async () => {
  expect(await e.violations()).toEqual([])
})
afterAll(() => e.close())

/** An ended run that wrote a file, which is a blob and an artifact. */
async function written(who: Principal, content: string): Promise<string> {
  respond = script([[call('file_write', { filepath: 'outputs/a.txt', content })], [say('End.')]])
  const { run, publications } = await e.create(who)
  await e.scheduler.publish(publications)
  await e.drain()
  expect((await e.run(run.id)).status).toBe('completed')
  return run.id
}
const age = (id: string, days: number) =>
  e.project.sql(
    `update public.agent_runs set created_at = created_at - $2 * interval '1 day', completed_at = completed_at - $2 * interval '1 day' where id = $1`,
    [id, days],
  )
const isThere = async (id: string) =>
  (await e.project.sql('select from public.agent_runs where id = $1', [id])).length === 1
const objects = (who: Principal) =>
  e.project.sql<{ bucket_id: string }>(
    `select bucket_id from storage.objects where bucket_id like 'agent-%' and name like $1 || '/%' order by 1`,
    [who.sub],
  )
/** The database's own timer, which knows of the setting only what was written down. */
const timer = async () => {
  const [row] = await e.project.sql<{ swept: { removed: number; failed: number; due: number } }>(
    `select public.agent_sweep('{}') as swept`,
  )
  return row?.swept
}

describe('retention', () => {
  it('keeps everything until it is told otherwise', async () => {
    const id = await written(principal(), 'kept')
    await age(id, 10_000)
    expect((await timer())?.removed).toBe(0)
    expect(await isThere(id)).toBe(true)
  })

  it('removes ended runs after the days that the step service was set to, with their bytes, and no others', async () => {
    const who = principal()
    const [old, shared, young] = [
      await written(who, 'only of the old run'),
      await written(who, 'of two runs'),
      await written(who, 'of two runs'),
    ]
    const open = await e.create(who)
    for (const id of [old, shared]) await age(id, 31)
    await age(young, 29)
    await e.project.sql(
      `update public.agent_runs set created_at = now() - interval '90 days' where id = $1`,
      [open.run.id],
    )
    const balance = () =>
      e.project.sql('select available_credits, used_credits from public.credit_balances where user_id = $1', [
        who.sub,
      ])
    const before = await balance()
    expect((await objects(who)).map(({ bucket_id }) => bucket_id)).toEqual([
      'agent-outputs',
      'agent-outputs',
      'agent-outputs',
      'agent-workspaces',
      'agent-workspaces',
    ])

    // the first sweep tells the database, and it removes at once
    await sweep(e.deps)
    expect(await Promise.all([old, shared, young, open.run.id].map(isThere))).toEqual([
      false,
      false,
      true,
      true,
    ])
    // what was paid stays paid
    expect(await balance()).toEqual(before)
    await sweep(e.deps)
    await e.project.sql('update private.objects_to_remove set not_before = now() where handed_at is null')
    await sweep(e.deps)
    // the blob that the young run refers to, and its artifact
    expect((await objects(who)).map(({ bucket_id }) => bucket_id)).toEqual([
      'agent-outputs',
      'agent-workspaces',
    ])

    // from here on the timer alone goes on with it
    await age(young, 2)
    expect(await timer()).toMatchObject({ removed: 1, failed: 0, due: 1 })
    await e.front.cancelRun({ principal: who, run_id: open.run.id })
  })

  it('removes what was marked as deleted, whatever its age, and leaves a run in work alone', async () => {
    const who = principal()
    const id = await written(who, 'marked')
    const open = await e.create(who)
    await e.project.sql('update public.agent_runs set deleted_at = now() where id = any ($1)', [
      [id, open.run.id],
    ])
    expect((await timer())?.removed).toBe(1)
    expect([await isThere(id), await isThere(open.run.id)]).toEqual([false, true])
    await e.project.sql('update public.agent_runs set deleted_at = null where id = $1', [open.run.id])
    await e.front.cancelRun({ principal: who, run_id: open.run.id })
  })

  it.each(['expires_at', 'deleted_at'])(
    'removes artifacts by %s when their run has ended, with their bytes',
    async (column) => {
      const who = principal()
      const id = await written(who, `artifact ${column}`)
      const artifacts = () => e.project.sql('select from public.agent_artifacts where run_id = $1', [id])
      await e.project.sql(
        `update public.agent_artifacts set ${column} = now() + interval '1 hour' where run_id = $1 and '${column}' = 'expires_at'`,
        [id],
      )
      await timer()
      expect(await artifacts()).toHaveLength(1)
      await e.project.sql(`update public.agent_artifacts set ${column} = now() where run_id = $1`, [id])
      expect((await timer())?.due).toBeGreaterThan(0)
      expect(await artifacts()).toEqual([])
      await sweep(e.deps)
      expect((await objects(who)).map(({ bucket_id }) => bucket_id)).toEqual(['agent-workspaces'])
      // the log still tells of it; a stream shows the place without the file
      const page = await e.front.readEvents({ principal: who, run_id: id, after_seq: 0, limit: 100 })
      expect(page.events.filter(({ log }) => log.metadata.event === 'artifact')).toMatchObject([
        { artifact: null },
      ])
    },
  )

  it('waits for nobody: a run that somebody holds is left for the next time', async () => {
    const id = await written(principal(), 'held')
    await age(id, 31)
    const held = e.project.sql(
      `with l as materialized (select run_id from private.runs where run_id = '${id}' for update) select pg_sleep(1.5) from l`,
    )
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect((await timer())?.removed).toBe(0)
    await held
    expect((await timer())?.removed).toBe(1)
  })

  it('takes many runs some at a time, and two sweepers at once do not wait in a circle', async () => {
    const whos = [principal(), principal(), principal()]
    const ids: string[] = []
    for (const who of whos)
      for (let n = 0; n < 36; n++) {
        const { run } = await e.create(who, { opening_credits: 10_000 })
        ids.push(run.id)
      }
    await e.project.sql(
      `select private.finish_run(id, 'cancelled', null, null, null) from public.agent_runs where id = any ($1)`,
      [ids],
    )
    await e.project.sql(
      `update public.agent_runs set completed_at = now() - interval '40 days' where id = any ($1)`,
      [ids],
    )
    let removed = 0
    for (let n = 0; n < 20 && removed < ids.length; n++) {
      const both = await Promise.all([timer(), timer()])
      for (const one of both) {
        expect(one?.removed).toBeLessThanOrEqual(100)
        removed += one?.removed ?? 0
      }
    }
    expect(removed).toBe(108)
    expect(await e.project.sql('select from public.agent_runs where id = any ($1)', [ids])).toEqual([])
  })

  it('takes no nonsense for a number of days, and no word from anybody but the step service and the operator', async () => {
    for (const value of ['-1', '36501', 'null', '"x"'])
      await expect(
        e.project.sql(`select public.agent_configure('{"retention_days": ${value}}')`),
      ).rejects.toThrow()
    expect(
      await e.project.sql(
        `select r.rolname from pg_roles r where has_function_privilege(r.oid, 'public.agent_configure(jsonb)', 'execute')
         and r.rolname in ('anon', 'authenticated', 'service_role', 'agent_api', 'agent_step', 'postgres') order by 1`,
      ),
    ).toEqual([{ rolname: 'agent_step' }, { rolname: 'postgres' }])
    await e.project.sql(`select public.agent_configure('{"retention_days": 0}')`)
    const id = await written(principal(), 'for ever')
    await age(id, 30_000)
    expect((await timer())?.removed).toBe(0)
  })
})

it('a delete takes what the cache has of the run, and tells its open streams', async () => {
  const who = principal()
  const id = await written(who, 'cached')
  await e.cache.setFlag(cancelFlag(id), 60)
  await e.cache.setFlag(watchFlag(id), 60)
  const stop = new AbortController()
  const heard: string[] = []
  const listening = (async () => {
    for await (const text of e.cache.subscribe(runChannel(id), { signal: stop.signal })) heard.push(text)
  })()
  const front = createFrontStore({
    url: e.project.origin,
    anonKey: e.project.anonKey,
    roleToken: await e.project.mintRoleToken({ role: 'agent_api' }),
    timeoutMs: 10_000,
  })
  const ports = { store: front, cache: e.cache, scheduler: async () => e.scheduler, log: silentLog }
  const caller: Caller = {
    ...who,
    accessToken: '',
    expiresAt: 0,
    projectUrl: null,
    projectKey: null,
  }
  await deleteRun(ports, caller, id)
  expect([await e.cache.hasFlag(cancelFlag(id)), await e.cache.hasFlag(watchFlag(id))]).toEqual([
    false,
    false,
  ])
  stop.abort()
  await listening
  expect(heard).toEqual(['{"t":"rows"}'])
})
