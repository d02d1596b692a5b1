import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { MemoryReply } from '../../shared/adapters/memory/model.ts'
import { makeInvalidToolInput } from '../../shared/core/tool-input.ts'
import { ModelError, type ModelErrorKind, type ModelRequest } from '../../shared/ports/model.ts'
import { call, type Engine, engine, principal, say, script } from './harness.ts'

let respond: (request: ModelRequest) => MemoryReply = script([])
let e: Engine

beforeAll(async () => {
  e = await engine((request) => respond(request))
})
afterEach(async () => {
  expect(await e.violations()).toEqual([])
})
afterAll(() => e.close())

/** Plans as usual, then answers decide requests from the list, one after the other. */
function decides(...replies: MemoryReply[]): void {
  const plan = script([])
  let n = 0
  respond = (request) =>
    request.tools.some(({ name }) => name === 'submit_plan')
      ? plan(request)
      : (replies[n++] ?? { blocks: [say('The end.')] })
}

async function start(): Promise<string> {
  const { run, publications } = await e.create(principal())
  await e.scheduler.publish(publications)
  await e.drain()
  return run.id
}

describe('what the provider says is decided once, and said in words a user understands', () => {
  it.each<[ModelErrorKind, string, RegExp]>([
    ['spend_cap', 'MODEL_SPEND_CAP', /spending limit/],
    ['unauthorized', 'MODEL_UNAUTHORIZED', /key was refused/],
    ['invalid_request', 'MODEL_INVALID_REQUEST', /refused the request/],
  ])('%s ends the run at once, without another try', async (kind, code, message) => {
    decides(new ModelError(kind, 'secret internals of the provider'))
    const before = e.model.requests.length
    const row = await e.run(await start())
    expect(row).toMatchObject({ status: 'failed', error_code: code })
    expect(row.error_message).toMatch(message)
    expect(row.error_message).not.toContain('internals')
    expect(e.model.requests.length - before).toBe(2)
  })

  it.each<[ModelErrorKind]>([['rate_limited'], ['overloaded'], ['unavailable']])(
    '%s is a later attempt: the invocation ends, the step is scheduled again after the named time',
    async (kind) => {
      decides(new ModelError(kind, 'later', { retryAfterSeconds: 7 }))
      const { run, publications } = await e.create(principal())
      await e.scheduler.publish(publications)
      await e.drain()
      expect((await e.run(run.id)).status).toBe('executing')
      expect(e.scheduler.published.at(-1)).toMatchObject({
        run_id: run.id,
        step_number: 1,
        publication: 1,
        delay_seconds: 7,
      })
      await e.project.sql('update public.agent_task_queue set due_at = now() where run_id = $1', [run.id])
      await e.deliver({ run_id: run.id, step_number: 1 })
      expect((await e.run(run.id)).status).toBe('completed')
    },
  )
})

describe('every stop reason has a decision', () => {
  it('refusal fails the run with what the model said', async () => {
    decides({ blocks: [say('I cannot help with that.')], stopReason: 'refusal' })
    expect(await e.run(await start())).toMatchObject({
      status: 'failed',
      error_code: 'MODEL_REFUSED',
      error_message: 'I cannot help with that.',
    })
  })

  it('max_tokens goes on from what was said, and the whole is in the conversation', async () => {
    decides({ blocks: [say('First half,')], stopReason: 'max_tokens' }, { blocks: [say(' second half.')] })
    expect((await e.run(await start())).status).toBe('completed')
    const sent = e.model.requests.at(-1)?.messages
    expect(sent?.map(({ role }) => role)).toEqual(['user', 'assistant', 'user'])
    expect(JSON.stringify(sent?.at(-1))).toContain('Continue')
  })

  it('pause_turn goes on, an unknown reason is judged by the content', async () => {
    decides(
      { blocks: [say('A pause.')], stopReason: 'pause_turn' },
      { blocks: [call('file_list', {})], stopReason: 'brand_new' },
      { blocks: [say('Done.')], stopReason: 'brand_new' },
    )
    expect(await e.run(await start())).toMatchObject({ status: 'completed', total_steps: 5 })
  })

  it('an empty turn is another attempt', async () => {
    decides({ blocks: [] }, { blocks: [say('Now.')] })
    const { run, publications } = await e.create(principal())
    await e.scheduler.publish(publications)
    await e.drain()
    await e.project.sql('update public.agent_task_queue set due_at = now() where run_id = $1', [run.id])
    await e.deliver({ run_id: run.id, step_number: 1 })
    expect((await e.run(run.id)).status).toBe('completed')
  })
})

describe('what a model may write', () => {
  it('malformed and truncated tool input, text that Postgres refuses, and depth are answered, not fatal', async () => {
    let deep: unknown = 1
    for (let n = 0; n < 200; n++) deep = { deep }
    decides(
      {
        blocks: [
          say('nul \0 and half \ud800'),
          call('shell', makeInvalidToolInput('{"command": "ls', 'The input broke off.')),
          call('shell', { command: 'ls', extra: deep }),
          call('shell', { command: 7 }),
          call('x'.repeat(5000), {}),
        ],
      },
      { blocks: [say('Good.')] },
    )
    expect((await e.run(await start())).status).toBe('completed')
    const results = e.model.requests.at(-1)?.messages.at(-1)?.content
    expect(results?.map((block) => block.type === 'tool_result' && block.is_error)).toEqual([
      true,
      true,
      true,
      true,
    ])
  })

  it('the same id for two calls does not confuse their results', async () => {
    decides(
      { blocks: [call('file_list', {}, 'same'), call('message', { message: 'hi' }, 'other')] },
      { blocks: [say('Good.')] },
    )
    expect((await e.run(await start())).status).toBe('completed')
  })
})

it('the operator switch stops claims for everybody, a tenant or a tool, and lets them go on', async () => {
  decides()
  const who = principal()
  const { run } = await e.create(who)
  for (const [tenant, tool] of [
    [null, null],
    [who.sub, null],
    [null, 'plan'],
  ]) {
    await e.project.sql(
      `insert into private.switches (tenant_id, tool_name, reason) values ($1, $2, 'test')`,
      [tenant, tool],
    )
    expect(await e.deliver({ run_id: run.id, step_number: 0 })).toEqual({ outcome: 'switched_off' })
    await e.project.sql('delete from private.switches')
  }
  await e.project.sql(
    `insert into private.switches (tenant_id, reason) values (gen_random_uuid(), 'somebody else')`,
  )
  expect(await e.deliver({ run_id: run.id, step_number: 0 })).toEqual({ outcome: 'committed' })
  await e.project.sql('delete from private.switches')
  await e.drain()
  expect((await e.run(run.id)).status).toBe('completed')
})
