import { describe, expect, it } from 'vitest'
import { testConfig } from '../../shared/config/test-config.ts'
import { bulkAnswer, createAnswer, verbAnswer } from '../../shared/contract/execute.ts'
import { cancelFlag } from '../../shared/contract/live.ts'
import { caller, testPorts } from '../test-kit.ts'
import { executeApp } from './routes.ts'

function setup() {
  const ports = testPorts()
  const app = executeApp(testConfig('execute'), ports)
  return { ports, alice: caller(app), bob: caller(app, 'bob') }
}
type Side = ReturnType<typeof setup>

async function run({ alice, ports }: Side, body: Record<string, unknown> = {}): Promise<string> {
  const answer = await alice.post('/', { prompt: 'x', ...body })
  expect(answer.status).toBe(201)
  ports.published.length = 0
  return String(answer.body.run_id)
}

describe('fork', () => {
  it('answers 201 in the shape of create, and publishes', async () => {
    const side = setup()
    const run_id = await run(side)
    side.ports.store.addStep(run_id, { status: 'completed', tool_type: 'plan', tool_name: 'plan' })
    side.ports.store.addStep(run_id, {})
    const { status, body } = await side.alice.post('/agent/execute', { action: 'fork', run_id, from_step: 1 })
    expect(status).toBe(201)
    createAnswer.parse(body)
    expect(body.run_id).not.toBe(run_id)
    expect(side.ports.published).toHaveLength(1)
    expect(side.ports.store.runs.get(String(body.run_id))?.run.metadata).toMatchObject({
      fork_of: run_id,
      fork_step: 1,
    })
  })

  it('takes a message, and an Idempotency-Key', async () => {
    const side = setup()
    const run_id = await run(side)
    side.ports.store.addStep(run_id, {})
    const body = { action: 'fork', run_id, from_step: 0, message: 'another prompt' }
    const key = { 'idempotency-key': 'fork-1' }
    const first = await side.alice.post('/', body, key)
    const again = await side.alice.post('/', body, key)
    expect(again.body.run_id).toBe(first.body.run_id)
    expect(side.ports.store.runs.get(String(first.body.run_id))?.run.prompt).toBe('another prompt')
    expect((await side.alice.post('/', { ...body, message: 'a third' }, key)).status).toBe(409)
    expect(side.ports.published).toHaveLength(1)
  })

  it.each([
    [{}, 'from_step'],
    [{ from_step: -1 }, 'from_step'],
    [{ from_step: 1.5 }, 'from_step'],
    [{ from_step: '1' }, 'from_step'],
    [{ from_step: 0, message: 5 }, 'message'],
    [{ from_step: 0, message: 'x'.repeat(100_001) }, 'message'],
    [{ from_step: 7 }, 'no step 7'],
  ])('refuses %j', async (fields, word) => {
    const side = setup()
    const run_id = await run(side)
    const { status, body } = await side.alice.post('/', { action: 'fork', run_id, ...fields })
    expect([status, body.code, body.success]).toEqual([400, 'invalid_request', false])
    expect(body.error).toContain(word)
  })
})

describe('retry of a step', () => {
  it('is 200 in place and 201 when it is a fork', async () => {
    const side = setup()
    const run_id = await run(side)
    side.ports.store.addStep(run_id, { status: 'failed' })
    side.ports.store.addStep(run_id, { status: 'running', retry_count: 2 })
    const inPlace = await side.alice.post('/', { action: 'retry', run_id, step_number: 1 })
    expect([inPlace.status, inPlace.body.run_id]).toEqual([200, run_id])
    verbAnswer.parse(inPlace.body)
    const forked = await side.alice.post('/', { action: 'retry', run_id, step_number: 0 })
    expect(forked.status).toBe(201)
    createAnswer.parse(forked.body)
    expect(side.ports.published).toHaveLength(2)
    // without a step it is the whole run, as ever
    expect((await side.alice.post('/', { action: 'retry', run_id })).body.error).toBe(
      'Cannot retry run in status: queued',
    )
    expect((await side.alice.post('/', { action: 'retry', run_id, step_number: 'x' })).body.code).toBe(
      'invalid_request',
    )
  })
})

describe('delete', () => {
  it('removes an ended run, once', async () => {
    const side = setup()
    const run_id = await run(side)
    const body = { action: 'delete', run_id }
    expect((await side.alice.post('/', body)).body).toMatchObject({
      code: 'invalid_state',
      error: 'Cannot delete run in status: queued',
    })
    await side.alice.post('/', { action: 'stop', run_id })
    expect((await side.bob.post('/', body)).status).toBe(404)
    const answer = await side.alice.post('/', body)
    expect(answer).toMatchObject({ status: 200, body: { run_id, message: 'Run deleted' } })
    verbAnswer.parse(answer.body)
    expect((await side.alice.post('/', body)).status).toBe(404)
  })
})

describe('a tag instead of a run', () => {
  it('does the verb for the runs of the caller and lists how each fared', async () => {
    const side = setup()
    const ids = [await run(side, { tags: ['t'] }), await run(side, { tags: ['t', 'u'] })]
    await run(side, { tags: ['u'] })
    await side.bob.post('/', { prompt: 'x', tags: ['t'] })
    side.ports.published.length = 0
    const stopped = await side.alice.post('/', { action: 'stop', tag: 't' })
    expect(stopped.status).toBe(200)
    const { results, count, has_more, message } = bulkAnswer.parse(stopped.body)
    expect(results).toEqual(ids.map((run_id) => ({ run_id, success: true, status: 'cancelled' })))
    expect([count, has_more, message]).toEqual([2, false, 'stop: 2 of 2 runs'])
    for (const id of ids) expect(await side.ports.cache.hasFlag(cancelFlag(id))).toBe(true)

    const retried = bulkAnswer.parse((await side.alice.post('/', { action: 'retry', tag: 't' })).body)
    expect(retried.results.map(({ new_run_id }) => typeof new_run_id)).toEqual(['string', 'string'])
    expect(side.ports.published).toHaveLength(2)
    side.ports.store.credits.set('00000000-0000-4000-8000-00000000000a', 0)
    const poor = bulkAnswer.parse((await side.alice.post('/', { action: 'retry', tag: 't' })).body)
    expect(poor.results[0]).toEqual({
      run_id: ids[0],
      success: false,
      code: 'insufficient_credits',
      error: 'Insufficient credits',
    })
    expect(bulkAnswer.parse((await side.bob.post('/', { action: 'delete', tag: 't' })).body).count).toBe(0)
  })

  it('is for five verbs, and never where a run is named', async () => {
    const side = setup()
    const run_id = await run(side, { tags: ['t'] })
    for (const action of ['start', 'fork'])
      expect((await side.alice.post('/', { action, tag: 't' })).body.code).toBe('run_id_required')
    expect((await side.alice.post('/', { action: 'stop', tag: 'none', run_id })).body).toMatchObject({
      run_id,
      status: 'cancelled',
    })
    expect((await side.alice.post('/', { action: 'stop', tag: 'x'.repeat(101) })).body.code).toBe(
      'invalid_request',
    )
    for (const tag of ['', null, 5, ['t']])
      expect((await side.alice.post('/', { action: 'stop', tag })).body.code).not.toBeUndefined()
  })
})
