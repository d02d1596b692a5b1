import assert from 'node:assert/strict'
import { assertError, call, cancelledRun, execute, idleRun, type Loose, note, status } from '../call.ts'
import type { Case, World } from '../installation.ts'
import { SMALL_PROMPT } from '../runs.ts'

const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/

async function runOf(world: World, run_id: string): Promise<Loose> {
  return (await status(world, { run_id })).body.run
}

function assertCreated({ status: code, body, text }: Loose, prompt: string, state: string): void {
  assert.equal(code, 201, text)
  const { run_id } = body
  assert.deepEqual(body, {
    success: true,
    run_id,
    status: state,
    message: body.message,
    task: { id: run_id, run_id, prompt, status: state, created_at: body.task.created_at },
  })
  assert.ok(body.message.length > 0)
  assert.match(body.task.created_at, ISO)
}

export const createCases: Case[] = [
  {
    name: 'every URL of execute creates, with and without action',
    async run(world) {
      for (const path of world.paths.execute) {
        for (const action of [{ action: 'create' }, {}]) {
          const answer = await call(world, path, { body: { ...action, prompt: 'Hello', auto_start: false } })
          note(world, answer)
          assertCreated(answer, 'Hello', 'created')
        }
      }
    },
  },
  {
    name: 'create queues at once, and a start right after it is never an error before the end',
    needs: ['runs'],
    async run(world) {
      for (let n = 0; n < 2; n += 1) {
        const answer = await execute(world, { action: 'create', prompt: SMALL_PROMPT })
        assertCreated(answer, SMALL_PROMPT, 'queued')
        const { run_id } = answer.body
        const starts = await Promise.all([1, 2, 3].map(() => execute(world, { action: 'start', run_id })))
        for (const { status: code, body, text } of starts) {
          assert.equal(code, 200, text)
          assert.equal(body.run_id, run_id)
          assert.ok(['queued', 'planning', 'executing'].includes(body.status), text)
        }
        await execute(world, { action: 'stop', run_id })
      }
    },
  },
  {
    name: 'a blank or missing prompt is 400 Prompt is required',
    async run(world) {
      for (const prompt of [{ prompt: '' }, { prompt: ' \n\t' }, { prompt: null }, { prompt: 7 }, {}])
        assertError(
          await execute(world, { action: 'create', ...prompt }),
          400,
          'prompt_required',
          'Prompt is required',
        )
    },
  },
  {
    name: 'everything the newest callers send is kept or ignored, and a mode outside the enum becomes custom',
    async run(world) {
      for (const mode of ['general', 'agent', 'agentic']) {
        const run_id = await idleRun(world, {
          action: undefined,
          mode,
          task_type: 'slides',
          params: { a: [1] },
          memory_context: { likes: 'tea' },
          privacyTier: 'high',
          connectors: ['gmail'],
          templateId: 7,
          thinkingLevel: 'deep',
          a_new_key: { x: 1 },
        })
        const run = await runOf(world, run_id)
        assert.equal(run.mode, 'custom')
        assert.equal(run.metadata.mode_requested, mode)
        const { task_type, params, privacyTier, connectors, templateId, thinkingLevel } = run.metadata
        assert.deepEqual(
          [task_type, params, privacyTier, connectors, templateId, thinkingLevel],
          ['slides', { a: [1] }, 'high', ['gmail'], 7, 'deep'],
        )
      }
      assert.equal((await runOf(world, await idleRun(world, { mode: 'slides' }))).mode, 'slides')
    },
  },
  {
    name: 'null for every optional key is as if it were left out',
    async run(world) {
      const keys = [
        'project_id',
        'connector_ids',
        'user_input',
        'task_type',
        'mode',
        'params',
        'memory_context',
        'attachments',
      ]
      await idleRun(world, Object.fromEntries(keys.map((key) => [key, null])))
    },
  },
  {
    name: 'attachments {name, url, type}: what is not in trusted Storage is left out with a warning, never a 400',
    async run(world) {
      const run_id = await idleRun(world, {
        attachments: [
          {
            name: 'x.png',
            url: 'https://evil.example.com/storage/v1/object/public/files/x.png',
            type: 'image/png',
          },
          { name: 'y', url: 'no url', type: '' },
          { name: 'z', url: `${world.supabaseUrl}/storage/v1/object/public/none/z.txt`, type: 'text/plain' },
        ],
      })
      const { logs } = (await status(world, { run_id })).body
      assert.equal(logs.filter((log: Loose) => log.log_type === 'warning').length, 3)
    },
  },
  {
    name: "attachments {bucket, path}: somebody else's object is refused",
    async run(world) {
      const attachments = [{ bucket: 'agent-inputs', path: `${world.bob.id}/none.txt` }]
      assertError(await execute(world, { prompt: 'x', attachments }), 400, 'invalid_attachment')
    },
  },
  {
    name: 'an Idempotency-Key gives a repeat the first answer, others a conflict, and is its user’s own',
    async run(world) {
      const headers = { 'idempotency-key': `contract-${crypto.randomUUID()}` }
      const body = { action: 'create', prompt: 'once', auto_start: false, params: { a: 1, b: 2 } }
      const together = await Promise.all([1, 2, 3, 4].map(() => execute(world, body, { headers })))
      for (const answer of together)
        assert.deepEqual([answer.status, answer.body], [201, together[0]?.body], answer.text)
      const again = await execute(
        world,
        { params: { b: 2, a: 1 }, auto_start: false, prompt: 'once', action: 'create' },
        { headers },
      )
      assert.deepEqual(again.body, together[0]?.body)
      for (const path of world.paths.execute)
        assertError(
          await call(world, path, { headers, body: { ...body, prompt: 'twice' } }),
          409,
          'idempotency_conflict',
        )
      const other = await execute(world, { ...body, prompt: 'twice' }, { headers, as: world.bob })
      assert.equal(other.status, 201)
      assert.notEqual(other.body.run_id, again.body.run_id)
      for (const key of ['x'.repeat(256), 'ümlaut'])
        assertError(
          await execute(world, body, { headers: { 'idempotency-key': key } }),
          400,
          'invalid_request',
        )
    },
  },
  {
    name: 'an Idempotency-Key on retry makes one run',
    async run(world) {
      const run_id = await cancelledRun(world)
      const headers = { 'idempotency-key': `contract-${crypto.randomUUID()}` }
      const [one, two] = await Promise.all(
        [1, 2].map(() => execute(world, { action: 'retry', run_id }, { headers })),
      )
      assert.equal(one?.status, 201, one?.text)
      assert.deepEqual(two?.body, one?.body)
      await execute(world, { action: 'stop', run_id: one?.body.run_id })
    },
  },
  {
    name: 'an Idempotency-Key is forgotten after 24 h',
    needs: ['local'],
    async run(world) {
      const key = `contract-${crypto.randomUUID()}`
      const headers = { 'idempotency-key': key }
      const first = await execute(world, { prompt: 'a', auto_start: false }, { headers })
      const age = (hours: number) =>
        world.hooks?.query(
          `update private.idempotency_keys set created_at = clock_timestamp() - make_interval(mins => $2) where key = $1 returning 1`,
          [key, hours * 60],
        )
      assert.equal((await age(23.9))?.length, 1)
      assert.deepEqual(
        (await execute(world, { prompt: 'a', auto_start: false }, { headers })).body,
        first.body,
      )
      await age(24.1)
      const later = await execute(world, { prompt: 'b', auto_start: false }, { headers })
      assert.equal(later.status, 201, later.text)
      assert.notEqual(later.body.run_id, first.body.run_id)
    },
  },
  {
    name: 'without credit create is 402 Insufficient credits',
    needs: ['local'],
    async run(world) {
      const poor = await world.hooks?.member('poor')
      assert.ok(poor)
      await idleRun(world, {}, { as: poor })
      await world.hooks?.query('update public.credit_balances set available_credits = 0 where user_id = $1', [
        poor.id,
      ])
      for (const path of world.paths.execute)
        assertError(
          await call(world, path, { as: poor, body: { prompt: 'x' } }),
          402,
          'insufficient_credits',
          'Insufficient credits',
        )
    },
  },
]
