import { createHash } from 'node:crypto'
import { StorageClient } from '@supabase/storage-js'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { MemoryReply } from '../../shared/adapters/memory/model.ts'
import { createFrontStore } from '../../shared/adapters/supabase/front-store.ts'
import type { SupabaseOptions } from '../../shared/adapters/supabase/rpc.ts'
import { createStepStore } from '../../shared/adapters/supabase/step-store.ts'
import { removeObjects } from '../../shared/adapters/supabase/storage.ts'
import { sweep } from '../../shared/engine/sweep.ts'
import type { Principal } from '../../shared/ports/identity.ts'
import { ModelError, type ModelRequest } from '../../shared/ports/model.ts'
import { advanceDatabase } from './advance-database.ts'
import { call, type Engine, engine, principal, say, script } from './harness.ts'

let respond: (request: ModelRequest, n: number) => MemoryReply | Promise<MemoryReply> = script([])
let e: Engine
let verbs: ReturnType<typeof createFrontStore>
let step: SupabaseOptions

beforeAll(async () => {
  e = await engine((request, n) => respond(request, n))
  const options = async (role: string) => ({
    url: e.project.origin,
    anonKey: e.project.anonKey,
    roleToken: await e.project.mintRoleToken({ role }),
    timeoutMs: 10_000,
  })
  verbs = createFrontStore(await options('agent_api'))
  step = await options('agent_step')
  const objects = createStepStore(step)
  e.deps.objects = {
    remove: (listed) => removeObjects(step, listed),
    confirm: (gone) => objects.objectsRemoved({ objects: gone }),
  }
})
afterEach(async () => {
  expect(await e.violations()).toEqual([])
})
afterAll(() => e.close())

const limits = { max_steps: 20, timeout_seconds: 600 }
const terms = { limits, idempotency: null }
const write = (name: string, content = name) => call('file_write', { filepath: `outputs/${name}`, content })

/** A run that was carried to wherever it goes by itself. */
async function played(
  who: Principal,
  turns: Parameters<typeof script>[0],
  fields: Parameters<Engine['create']>[1] = {},
) {
  respond = script(turns)
  const { run, publications } = await e.create(who, { opening_credits: 1000, ...fields })
  await e.scheduler.publish(publications)
  await e.drain()
  return e.run(run.id)
}
async function go(answer: {
  run: { id: string }
  publications: Parameters<Engine['scheduler']['publish']>[0]
}) {
  await e.scheduler.publish(answer.publications)
  await e.drain()
  return e.run(answer.run.id)
}
const snapshot = (who: Principal, run_id: string) =>
  e.front.readRun({
    principal: who,
    run_id,
    steps: { limit: 100, before: null },
    messages: { limit: 100 },
    artifacts: { limit: 100 },
    logs: { limit: 500 },
  })
const files = async (run: string) =>
  (await e.store.readFiles({ run_id: run, paths: null, under: null, limit: 100 })).map(({ path }) => path)

describe('fork', () => {
  it('shares messages, steps, files and plan before the step, and pays for what it does itself', async () => {
    const who = principal()
    const run = await played(who, [[write('a')], [write('b')], [say('First end.')]])
    expect(run.status).toBe('completed')
    const forked = await verbs.forkRun({
      principal: who,
      run_id: run.id,
      from_step: 3,
      message: null,
      ...terms,
    })
    expect(forked.run).toMatchObject({
      status: 'executing',
      total_steps: 4,
      completed_steps: 3,
      total_credits_used: 0,
      current_phase: 1,
      metadata: { fork_of: run.id, fork_step: 3 },
    })
    expect(forked.run.plan).toEqual(run.plan)
    expect(await files(forked.run.id)).toEqual(['outputs/a'])
    expect(await e.violations()).toEqual([])
    respond = script([[], [say('Another end.')]])
    const done = await go(forked)
    expect(done).toMatchObject({ status: 'completed', total_steps: 4, total_credits_used: '5.0000' })
    const asked = e.model.requests.at(-1)?.messages
    expect(JSON.stringify(asked)).toContain('outputs/a')
    expect(JSON.stringify(asked)).not.toContain('outputs/b')
    const { steps, messages } = await snapshot(who, forked.run.id)
    expect(steps.map((s) => [s.step_number, s.tool_name, s.status, s.credits_used])).toEqual([
      [0, 'plan', 'completed', 0],
      [1, 'decide', 'completed', 0],
      [2, 'file_write', 'completed', 0],
      [3, 'decide', 'completed', 5],
    ])
    const stepIds = new Set(steps.map(({ id }) => id))
    for (const { step_id } of messages) expect(step_id === null || stepIds.has(step_id)).toBe(true)
    expect(messages.at(-1)?.content).toBe('Another end.')
    // the one it came from is as it was
    expect(await files(run.id)).toEqual(['outputs/a', 'outputs/b'])
    expect((await snapshot(who, run.id)).steps).toHaveLength(6)
  })

  it('takes an edited message: before a step, in the place of an answer, as a new prompt', async () => {
    const who = principal()
    const run = await played(who, [[call('ask_user', { question: 'Which?' })]])
    expect(run.status).toBe('waiting_user')
    const ids = { principal: who, run_id: run.id }
    await expect(verbs.forkRun({ ...ids, from_step: 2, message: null, ...terms })).rejects.toMatchObject({
      code: 'invalid_state',
      message: expect.stringContaining('waits for an answer'),
    })
    const early = await verbs.forkRun({ ...ids, from_step: 2, message: 'the blue one', ...terms })
    respond = script([[], [say('End.')]])
    expect((await go(early)).status).toBe('completed')
    expect(JSON.stringify(e.model.requests.at(-1)?.messages.at(-1))).toContain('the blue one')

    await go(await e.front.resumeRun({ ...ids, user_input: 'the red one' }))
    const late = await verbs.forkRun({ ...ids, from_step: 2, message: 'the green one', ...terms })
    await go(late)
    const asked = JSON.stringify(e.model.requests.at(-1)?.messages)
    expect(asked).toContain('the green one')
    expect(asked).not.toContain('the red one')
    await go(await verbs.forkRun({ ...ids, from_step: 2, message: null, ...terms }))
    expect(JSON.stringify(e.model.requests.at(-1)?.messages)).toContain('the red one')

    const anew = await verbs.forkRun({ ...ids, from_step: 0, message: 'something else', ...terms })
    expect(anew.run).toMatchObject({ status: 'queued', prompt: 'something else', total_steps: 1, plan: null })
    respond = script([[say('End.')]])
    expect((await go(anew)).status).toBe('completed')
    expect((await snapshot(who, anew.run.id)).messages[0]?.content).toBe('something else')
  })

  it('at a member of a group does that member and those after it again', async () => {
    const who = principal()
    const run = await played(who, [
      [call('file_write', { filepath: 'a', content: '1' }), call('shell', { command: 'x' }), write('c')],
      [say('End.')],
    ])
    // the third member commits before the second
    await e.finish(`run-${run.id}-3`, { outcome: { kind: 'exited', exit_code: 1 } })
    await e.drain()
    expect(await e.run(run.id)).toMatchObject({ status: 'completed', failed_steps: 1 })
    const ids = { principal: who, run_id: run.id }
    await expect(verbs.forkRun({ ...ids, from_step: 3, message: 'x', ...terms })).rejects.toMatchObject({
      code: 'invalid_request',
    })
    const retried = await verbs.retryStep({ ...ids, step_number: 3, ...terms })
    expect(retried).toMatchObject({
      forked: true,
      run: { total_steps: 5, completed_steps: 3, failed_steps: 0 },
    })
    expect(await files(retried.run.id)).toEqual(['a'])
    expect(retried.publications.map(({ step_number }) => step_number)).toEqual([3, 4])
    await go(retried)
    await e.finish(`run-${retried.run.id}-3`)
    await e.drain()
    expect(await e.run(retried.run.id)).toMatchObject({
      status: 'completed',
      completed_steps: 6,
      failed_steps: 0,
    })
    expect(await files(retried.run.id)).toEqual(['a', 'outputs/c'])
    // again from the fork, before everything: the copies of copies are right too
    const twice = await verbs.forkRun({
      principal: who,
      run_id: retried.run.id,
      from_step: 2,
      message: null,
      ...terms,
    })
    expect(await files(twice.run.id)).toEqual([])
    await e.front.cancelRun({ principal: who, run_id: twice.run.id })
  })

  it('keeps the version that stood: written twice, removed, and not those that came later', async () => {
    const who = principal()
    const run = await played(who, [[write('a', '1')], [write('a', '2')], [write('a', '3')], [say('End.')]])
    const sha = (text: string) => createHash('sha256').update(text).digest('hex')
    for (const [from_step, content] of [
      [3, '1'],
      [5, '2'],
      [7, '3'],
    ] as const) {
      const { run: fork } = await verbs.forkRun({
        principal: who,
        run_id: run.id,
        from_step,
        message: null,
        ...terms,
      })
      expect(await e.store.readFiles({ run_id: fork.id, paths: null, under: null, limit: 9 })).toMatchObject([
        { path: 'outputs/a', sha256: sha(content) },
      ])
      await e.front.cancelRun({ principal: who, run_id: fork.id })
    }
  })

  it('of two members that wrote one file in the other order keeps what stood', async () => {
    const who = principal()
    respond = script([
      [write('p', 'zero')],
      [write('p', 'one'), write('p', 'two'), call('shell', { command: 'x' })],
    ])
    const { run } = await e.create(who, { opening_credits: 1000 })
    for (const step_number of [0, 1, 2, 3, 5, 4]) await e.deliver({ run_id: run.id, step_number })
    const ids = { principal: who, run_id: run.id, message: null }
    for (const [from_step, content] of [
      [4, 'zero'],
      [5, 'one'],
      [6, 'one'],
    ] as const) {
      const { run: fork } = await verbs.forkRun({ ...ids, from_step, ...terms })
      expect(await e.store.readFiles({ run_id: fork.id, paths: null, under: null, limit: 9 })).toMatchObject([
        { path: 'outputs/p', sha256: createHash('sha256').update(content).digest('hex') },
      ])
      await e.front.cancelRun({ principal: who, run_id: fork.id })
    }
    await e.front.cancelRun({ principal: who, run_id: run.id })
  })

  it('is refused where it makes no sense, answers its key again, and costs its own credit', async () => {
    const who = principal()
    const run = await played(who, [[call('shell', { command: 'x' })]])
    const ids = { principal: who, run_id: run.id, message: null }
    await expect(verbs.forkRun({ ...ids, from_step: 9, ...terms })).rejects.toMatchObject({
      code: 'invalid_request',
    })
    await expect(
      verbs.forkRun({ ...ids, principal: principal(), from_step: 0, ...terms }),
    ).rejects.toMatchObject({ code: 'run_not_found' })
    const idempotency = { key: 'fork', body_sha256: 'a'.repeat(64) }
    const first = await verbs.forkRun({ ...ids, from_step: 1, limits, idempotency })
    expect(await verbs.forkRun({ ...ids, from_step: 1, limits, idempotency })).toMatchObject({
      replayed: true,
      run: { id: first.run.id },
    })
    await e.front.cancelRun({ principal: who, run_id: first.run.id })
    await e.front.cancelRun({ principal: who, run_id: run.id })
    // step 2 was cancelled with its job: it can be tried again, what follows a cancelled step cannot
    expect((await verbs.retryStep({ principal: who, run_id: run.id, step_number: 2, ...terms })).forked).toBe(
      true,
    )
    await expect(
      verbs.retryStep({ principal: who, run_id: run.id, step_number: 1, ...terms }),
    ).rejects.toMatchObject({ code: 'invalid_state', message: 'Cannot retry step in status: completed' })
    const poor = principal()
    const spent = await played(poor, [[say('End.')]], { opening_credits: 14 })
    await expect(
      verbs.forkRun({ principal: poor, run_id: spent.id, from_step: 1, message: null, ...terms }),
    ).rejects.toMatchObject({ code: 'insufficient_credits' })
  })
})

describe('retry of a step', () => {
  it('in place while an attempt has failed and the next is waited for', async () => {
    const who = principal()
    let busy = true
    respond = (request) =>
      busy
        ? new ModelError('overloaded', 'busy', { retryAfterSeconds: 300 })
        : script([[say('End.')]])(request)
    const { run } = await e.create(who)
    const ids = { principal: who, run_id: run.id, step_number: 0 }
    await expect(verbs.retryStep({ ...ids, ...terms })).rejects.toMatchObject({ code: 'invalid_state' })
    await e.deliver({ run_id: run.id, step_number: 0 })
    expect(await e.deliver({ run_id: run.id, step_number: 0 })).toEqual({ outcome: 'not_due' })
    busy = false
    const retried = await verbs.retryStep({ ...ids, ...terms })
    expect(retried).toMatchObject({ forked: false, run: { id: run.id } })
    expect(retried.publications).toMatchObject([{ step_number: 0, delay_seconds: 0 }])
    await e.store.claimStep({ run_id: run.id, step_number: 0, lease_seconds: 2 })
    await expect(verbs.retryStep({ ...ids, ...terms })).rejects.toMatchObject({
      message: 'Cannot retry step in status: running',
    })
    await advanceDatabase(e.project.sql, 3)
    expect((await go(retried)).status).toBe('completed')
  })

  it('brings a step back that has used up its attempts, before that is settled', async () => {
    const who = principal()
    respond = () => new ModelError('unavailable', 'cut', { retryAfterSeconds: 0 })
    const { run } = await e.create(who)
    for (let n = 0; n < 5; n++) await e.deliver({ run_id: run.id, step_number: 0 })
    const retried = await verbs.retryStep({ principal: who, run_id: run.id, step_number: 0, ...terms })
    respond = script([[say('End.')]])
    expect((await go(retried)).status).toBe('completed')
  })
})

describe('delete', () => {
  const listed = (who: Principal) =>
    e.project.sql<{ bucket: string; name: string }>(
      `select bucket, name from private.objects_to_remove where removed_at is null and name like $1 || '/%' order by 1, 2`,
      [who.sub],
    )
  const exists = async (bucket: string, name: string) =>
    (await e.project.sql('select from storage.objects where bucket_id = $1 and name = $2', [bucket, name]))
      .length === 1

  it('removes rows, and later the bytes that nothing else refers to', async () => {
    const who = principal()
    const content = `kept ${who.sub}`
    const run = await played(who, [[write('own', who.sub), write('shared', content)], [say('End.')]])
    const fork = await verbs.forkRun({
      principal: who,
      run_id: run.id,
      from_step: 4,
      message: null,
      ...terms,
    })
    await expect(e.front.cancelRun({ principal: who, run_id: fork.run.id })).resolves.toBeDefined()
    const ids = { principal: who, run_id: run.id }
    const open = await e.create(who)
    await expect(verbs.deleteRun({ principal: who, run_id: open.run.id })).rejects.toMatchObject({
      message: 'Cannot delete run in status: queued',
    })
    await expect(verbs.deleteRun({ ...ids, principal: principal() })).rejects.toMatchObject({
      code: 'run_not_found',
    })

    expect((await verbs.deleteRun(ids)).run).toMatchObject({ id: run.id, status: 'completed' })
    await expect(verbs.deleteRun(ids)).rejects.toMatchObject({ code: 'run_not_found' })
    for (const table of [
      'public.agent_steps',
      'public.agent_messages',
      'public.agent_artifacts',
      'public.agent_task_logs',
      'private.steps',
      'private.workspace_files',
    ])
      expect(await e.project.sql(`select from ${table} where run_id = $1`, [run.id]), table).toEqual([])
    // the fork refers to both blobs; the artifacts were the run's own
    const first = await listed(who)
    expect(first.map(({ bucket }) => bucket)).toEqual(['agent-outputs', 'agent-outputs'])
    expect(await exists('agent-outputs', first[0]?.name ?? '')).toBe(true)
    await sweep(e.deps)
    expect(await exists('agent-outputs', first[0]?.name ?? '')).toBe(false)
    expect(await listed(who)).toEqual([])

    await verbs.deleteRun({ principal: who, run_id: fork.run.id })
    const blobs = await listed(who)
    expect(blobs.map(({ bucket }) => bucket)).toEqual(['agent-workspaces', 'agent-workspaces'])
    await sweep(e.deps)
    expect(await listed(who)).toHaveLength(2)
    // one is written again within the day: it is kept
    await played(who, [[write('again', content)], [say('End.')]])
    const [left, ...others] = await listed(who)
    expect(others).toEqual([])
    await e.project.sql(`update private.objects_to_remove set not_before = now()`)
    expect(await exists('agent-workspaces', left?.name ?? '')).toBe(true)
    await sweep(e.deps)
    expect(await exists('agent-workspaces', left?.name ?? '')).toBe(false)
    expect(
      await exists('agent-workspaces', `${who.sub}/${createHash('sha256').update(content).digest('hex')}`),
    ).toBe(true)
    await e.front.cancelRun({ principal: who, run_id: open.run.id })
  })

  it('lets the step service remove what is listed, and nothing else', async () => {
    const who = principal()
    const run = await played(who, [[write('x', who.sub)], [say('End.')]])
    const name = `${who.sub}/${createHash('sha256').update(who.sub).digest('hex')}`
    const storage = new StorageClient(`${step.url}/storage/v1`, {
      apikey: step.anonKey,
      Authorization: `Bearer ${step.roleToken}`,
    })
    expect((await storage.from('agent-workspaces').remove([name])).data).toEqual([])
    expect(await exists('agent-workspaces', name)).toBe(true)
    await verbs.deleteRun({ principal: who, run_id: run.id })
    expect((await storage.from('agent-workspaces').remove([name])).data).toEqual([])
    expect(await exists('agent-workspaces', name)).toBe(true)
  })

  it('refuses bytes that are just being removed, and takes them when they are gone', async () => {
    const who = principal()
    const run = await played(who, [[write('x', who.sub)], [say('End.')]])
    await verbs.deleteRun({ principal: who, run_id: run.id })
    await e.project.sql(`update private.objects_to_remove set not_before = now() where name like $1`, [
      `${who.sub}/%`,
    ])
    // handed out to a process that dies before it removes or confirms anything
    const { objects_to_remove = [] } = await e.store.sweepDue({ limit: 200 })
    expect(objects_to_remove.map(({ name }) => name.split('/')[0])).toContain(who.sub)
    respond = script([[write('y', who.sub)], [say('End.')]])
    const next = await e.create(who)
    await e.deliver({ run_id: next.run.id, step_number: 0 })
    await e.deliver({ run_id: next.run.id, step_number: 1 })
    await expect(e.deliver({ run_id: next.run.id, step_number: 2 })).rejects.toMatchObject({
      code: 'unavailable',
    })
    await e.project.sql(`update private.objects_to_remove set handed_at = handed_at - interval '2 minutes'`)
    await sweep(e.deps)
    await e.project.sql(
      `update private.objects_to_remove set removed_at = removed_at - interval '11 minutes'`,
    )
    await sweep(e.deps)
    await advanceDatabase(e.project.sql, 6)
    await e.deliver({ run_id: next.run.id, step_number: 2 })
    await e.drain()
    expect((await e.run(next.run.id)).status).toBe('completed')
    const hash = createHash('sha256').update(who.sub).digest('hex')
    expect(Buffer.from(await e.deps.blobs.get(who.sub, hash)).toString()).toBe(who.sub)
  })

  it('settles an attempt in flight, whose holder then finds nothing', async () => {
    respond = () => 'silence'
    const who = principal()
    const { run } = await e.create(who)
    const delivery = e.deliver({ run_id: run.id, step_number: 0 })
    await expect.poll(async () => (await e.run(run.id)).status).toBe('planning')
    const other = await e.create(who)
    const held = await e.store.claimStep({ run_id: other.run.id, step_number: 0, lease_seconds: 5 })
    if (!('claim' in held)) throw new Error('not claimed')
    for (const { id } of [run, other.run]) {
      await e.front.cancelRun({ principal: who, run_id: id })
      await verbs.deleteRun({ principal: who, run_id: id })
    }
    const late = { ...held.claim.step, delay_seconds: 0, error: '', free: false }
    expect(await e.store.releaseStep(late)).toMatchObject({ committed: false, publications: [] })
    const gone = { principal: who, run_id: run.id }
    await expect(verbs.deleteRun(gone)).rejects.toMatchObject({ code: 'run_not_found' })
    expect(await delivery).toEqual({ outcome: 'stale' })
    const [balance] = await e.project.sql<{ available_credits: string; used_credits: string }>(
      'select available_credits, used_credits from public.credit_balances where user_id = $1',
      [who.sub],
    )
    expect(balance).toEqual({ available_credits: '90.0000', used_credits: '10.0000' })
  })
})

describe('for all runs of a tag', () => {
  const bulk = (who: Principal, verb: Parameters<typeof verbs.bulkRuns>[0]['verb'], tag = 'batch') =>
    verbs.bulkRuns({ principal: who, tag, verb, limits, opening_credits: 10_000 })

  it('does a verb to those that it is for, of one owner, and says how each fared', async () => {
    const who = principal()
    const other = principal()
    const fields = { tags: ['batch', 'x'], opening_credits: 10_000 }
    const mine = await Promise.all([e.create(who, fields), e.create(who, fields), e.create(who, fields)])
    const theirs = await e.create(other, fields)
    const untagged = await e.create(who, { opening_credits: 10_000 })
    const ids = mine.map(({ run }) => run.id)

    const paused = await bulk(who, 'pause')
    expect(paused.has_more).toBe(false)
    expect(new Set(paused.results.map(({ run_id }) => run_id))).toEqual(new Set(ids))
    expect(paused.results.every((result) => result.ok && result.status === 'paused')).toBe(true)
    expect((await bulk(who, 'pause')).results).toEqual([])
    const resumed = await bulk(who, 'resume')
    expect(resumed.publications).toHaveLength(3)
    expect(await e.violations()).toEqual([])
    expect((await bulk(who, 'stop')).results).toHaveLength(3)
    for (const { run } of [theirs, untagged]) expect((await e.run(run.id)).status).toBe('queued')

    const retried = await bulk(who, 'retry')
    expect(retried.results).toHaveLength(3)
    expect(retried.publications).toHaveLength(3)
    // again: those that were retried are not retried twice
    expect((await bulk(who, 'retry')).results).toEqual([])
    expect(new Set((await bulk(who, 'delete')).results.map(({ run_id }) => run_id))).toEqual(new Set(ids))
    expect((await bulk(who, 'stop')).results).toHaveLength(3)
    expect((await bulk(who, 'delete', 'x')).results).toHaveLength(3)
    expect((await bulk(who, 'delete')).results).toEqual([])
    for (const { run } of [theirs, untagged])
      await e.front.cancelRun({ principal: run.id === theirs.run.id ? other : who, run_id: run.id })
  })

  it('takes at most 100 a call, and one that fails does not stop the others', async () => {
    const who = principal()
    const fields = { tags: ['batch'], opening_credits: 525 }
    for (let n = 0; n < 105; n++) await e.create(who, fields)
    const first = await bulk(who, 'stop')
    expect([first.results.length, first.has_more]).toEqual([100, true])
    const second = await bulk(who, 'stop')
    expect([second.results.length, second.has_more]).toEqual([5, false])
    // 525 credits are back; a run that takes 25 of them leaves enough for 100 retries of 5
    await e.create(who, { tags: [] })
    for (let n = 0; n < 4; n++) await e.create(who, { tags: [] })
    const retried = await bulk(who, 'retry')
    expect(retried.results.filter(({ ok }) => ok)).toHaveLength(100)
    const rest = await bulk(who, 'retry')
    expect(rest.results).toHaveLength(5)
    for (const result of rest.results)
      expect(result).toMatchObject({
        ok: false,
        code: 'insufficient_credits',
        message: 'Insufficient credits',
      })
    expect(rest.publications).toEqual([])
  })

  it('makes runs only while there are places, as do fork and retry of a step', async () => {
    const who = principal()
    const ended = []
    for (let n = 0; n < 3; n++) ended.push((await e.create(who, { tags: ['places'] })).run.id)
    await bulk(who, 'stop', 'places')
    const few = { ...limits, max_open_runs_per_user: 2 }
    const tooMany = { code: 'too_many_runs', status: 429 }
    const answer = await verbs.bulkRuns({
      principal: who,
      tag: 'places',
      verb: 'retry',
      limits: few,
      opening_credits: 10_000,
    })
    expect(answer.results.map((result) => (result.ok ? 'made' : result.code))).toEqual([
      'made',
      'made',
      'too_many_runs',
    ])
    const fork = { principal: who, run_id: ended[0] ?? '', limits: few, idempotency: null }
    await expect(verbs.forkRun({ ...fork, from_step: 0, message: null })).rejects.toMatchObject(tooMany)
    const made = answer.results.flatMap((result) =>
      result.ok && result.new_run_id ? [result.new_run_id] : [],
    )
    await verbs.cancelRun({ principal: who, run_id: made[0] ?? '' })
    await verbs.forkRun({ ...fork, from_step: 0, message: null })
    await expect(verbs.forkRun({ ...fork, from_step: 0, message: null })).rejects.toMatchObject(tooMany)
  })

  it('does not wait in a circle with the steps of its runs', async () => {
    const who = principal()
    respond = script([[write('a')], [write('b')], [say('End.')]])
    const created = []
    for (let n = 0; n < 12; n++)
      created.push(await e.create(who, { tags: ['busy'], opening_credits: 10_000 }))
    const deliveries = created.map(async ({ run }) => {
      for (let n = 0; n < 6; n++)
        await e.deliver({ run_id: run.id, step_number: n }).catch((error: unknown) => {
          throw error
        })
    })
    const stops = [bulk(who, 'stop', 'busy'), bulk(who, 'stop', 'busy')]
    const settled = await Promise.allSettled([...deliveries, ...stops])
    expect(settled.flatMap((one) => (one.status === 'rejected' ? [String(one.reason)] : []))).toEqual([])
    for (const { run } of created) expect((await e.run(run.id)).status).toMatch(/cancelled|completed/)
  })
})
