import assert from 'node:assert/strict'
import { assertError, call, idleRun, type Loose, status } from '../call.ts'
import type { Case } from '../installation.ts'
import { demoRun } from '../runs.ts'

const PARTS = ['steps', 'messages', 'artifacts', 'logs'] as const
const GHOST = '0f0f0f0f-0000-4000-8000-00000000000f'

export const statusCases: Case[] = [
  {
    name: 'every URL of status answers every part by default, by run_id or task_id',
    async run(world) {
      const run_id = await idleRun(world)
      for (const path of world.paths.status) {
        const answers = [
          await call(world, path, { body: { run_id } }),
          await call(world, path, { body: { task_id: run_id } }),
        ]
        for (const { status: code, body, text } of answers) {
          assert.equal(code, 200, text)
          assert.equal(body.run.id, run_id)
          for (const part of [...PARTS, 'outputs']) assert.ok(Array.isArray(body[part]), part)
          for (const part of PARTS) assert.equal(body[`has_more_${part}`], false)
        }
      }
    },
  },
  {
    name: 'include_* false leaves a part out, and nothing else',
    async run(world) {
      const run_id = await idleRun(world)
      for (const left of PARTS) {
        const { body } = await status(world, { run_id, [`include_${left}`]: false })
        for (const part of PARTS)
          assert.equal(body[part] === undefined, part === left, `${part} without ${left}`)
        assert.equal(body.outputs === undefined, left === 'artifacts')
      }
    },
  },
  {
    name: 'limits keep the newest rows, oldest first; has_more says so; steps_before pages back',
    needs: ['runs'],
    async run(world) {
      const run_id = await demoRun(world)
      const whole = (await status(world, { run_id, steps_limit: 500, messages_limit: 500, logs_limit: 500 }))
        .body
      const numbers = whole.steps.map((step: Loose) => step.step_number)
      assert.deepEqual(
        numbers,
        numbers.map((_: number, n: number) => n),
      )
      assert.ok(numbers.length > 3)
      const cut = (
        await status(world, { run_id, steps_limit: 2, messages_limit: 1, artifacts_limit: 1, logs_limit: 3 })
      ).body
      for (const [part, count] of [
        ['steps', 2],
        ['messages', 1],
        ['artifacts', 1],
        ['logs', 3],
      ] as const) {
        assert.deepEqual(
          cut[part].map((row: Loose) => row.id),
          whole[part].slice(-count).map((row: Loose) => row.id),
          part,
        )
        assert.equal(cut[`has_more_${part}`], whole[part].length > count, part)
      }
      const paged: number[] = []
      let before: number | undefined
      for (;;) {
        const { body } = await status(world, {
          run_id,
          steps_limit: 3,
          ...(before === undefined ? {} : { steps_before: before }),
        })
        paged.unshift(...body.steps.map((step: Loose) => step.step_number))
        before = body.steps[0].step_number
        if (!body.has_more_steps) break
      }
      assert.deepEqual(paged, numbers)
    },
  },
  {
    name: 'limits are clamped to 1..500, nonsense counts as the default',
    needs: ['runs'],
    async run(world) {
      const run_id = await demoRun(world)
      const count = async (limit: unknown) =>
        (await status(world, { run_id, logs_limit: limit })).body.logs.length
      const byDefault = await count(undefined)
      for (const [limit, expected] of [
        [0, 1],
        [-7, 1],
        [1.9, 1],
        ['2', 2],
        ['x', byDefault],
        [null, byDefault],
        [[], byDefault],
      ] as const)
        assert.equal(await count(limit), expected, String(limit))
      assert.ok((await count(1e9)) <= 500)
    },
  },
  {
    name: 'the defaults are 50 steps, 100 messages, 20 artifacts, 50 logs',
    needs: ['local'],
    async run(world) {
      const run_id = await idleRun(world)
      const add = (table: string, columns: string, values: string) =>
        world.hooks?.query(
          `insert into public.${table} (run_id, user_id, ${columns}) select $1::uuid, $2::uuid, ${values} from generate_series(1000, 1130) n`,
          [run_id, world.alice.id],
        )
      await add(
        'agent_steps',
        'step_number, phase_number, tool_type, tool_name, tool_input, idempotency_key',
        `n, 1, 'shell', 'shell', '{}', $1::uuid || ':' || n`,
      )
      await add('agent_messages', 'role, content', `'user', 'm' || n`)
      await add(
        'agent_artifacts',
        'filename, file_path, file_type, file_size, content_hash, storage_key',
        `'f' || n, 'f', 'text/plain', 1, 'h', 'k' || n`,
      )
      await add(
        'agent_task_logs',
        'seq, log_type, message, created_at',
        `n, 'info', 'l' || n, clock_timestamp() + n * interval '1 second'`,
      )
      const { body } = await status(world, { run_id })
      assert.deepEqual(
        PARTS.map((part) => [body[part].length, body[`has_more_${part}`]]),
        [50, 100, 20, 50].map((length) => [length, true]),
      )
      assert.equal(body.logs.at(-1).message, 'l1130')
      assert.equal(body.steps.at(-1).step_number, 1130)
      const all = (await status(world, { run_id, logs_limit: 999 })).body
      assert.equal(all.has_more_logs, false)
    },
  },
  {
    name: 'status refuses alike what is foreign, unknown or nonsense, and says what is missing',
    async run(world) {
      const run_id = await idleRun(world)
      for (const id of [run_id, GHOST, 'nonsense', 5, {}])
        assertError(
          await status(world, { run_id: id }, { as: world.bob }),
          404,
          'run_not_found',
          'Run not found',
        )
      assertError(await status(world, {}), 400, 'run_id_required', 'run_id is required')
      assertError(await status(world, { run_id, steps_before: 'x' }), 400, 'invalid_request')
    },
  },
]
