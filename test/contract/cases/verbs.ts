import assert from 'node:assert/strict'
import { assertError, call, cancelledRun, execute, idleRun, type Loose, status } from '../call.ts'
import type { Case, World } from '../installation.ts'
import { demoRun } from '../runs.ts'

const GHOST = '0f0f0f0f-0000-4000-8000-00000000000f'
const VERBS = ['start', 'stop', 'retry', 'resume', 'pause', 'fork', 'delete', 'approve', 'deny']

async function runOf(world: World, run_id: string): Promise<Loose> {
  return (await status(world, { run_id })).body.run
}

function assertVerb({ status: code, body, text }: Loose, run_id: string, states: readonly string[]): void {
  assert.equal(code, 200, text)
  assert.equal(body.success, true)
  assert.equal(body.run_id, run_id)
  assert.ok(states.includes(body.status), text)
  assert.ok(typeof body.message === 'string' && body.message.length > 0)
}

export const verbCases: Case[] = [
  {
    name: 'start: from created; on a final run 400',
    async run(world) {
      const run_id = await idleRun(world)
      assertVerb(await execute(world, { action: 'start', run_id }), run_id, [
        'queued',
        'planning',
        'executing',
      ])
      await execute(world, { action: 'stop', run_id })
      assertError(
        await execute(world, { action: 'start', run_id }),
        400,
        'invalid_state',
        /^Cannot start run in status: (cancelled|completed)$/,
      )
    },
  },
  {
    name: 'start: on a paused run 400',
    async run(world) {
      const run_id = await pausedRun(world)
      assertError(
        await execute(world, { action: 'start', run_id }),
        400,
        'invalid_state',
        'Cannot start run in status: paused',
      )
    },
  },
  {
    name: 'stop: once, from created and from paused',
    async run(world) {
      for (const run_id of [await idleRun(world), await pausedRun(world)]) {
        assertVerb(await execute(world, { action: 'stop', run_id }), run_id, ['cancelled'])
        const again = await execute(world, { action: 'stop', run_id })
        assertError(again, 400, 'invalid_state', 'Cannot cancel run in status: cancelled')
        assert.equal((await runOf(world, run_id)).status, 'cancelled')
      }
    },
  },
  {
    name: 'POST /agent/cancel is stop',
    needs: ['api'],
    async run(world) {
      const run_id = await idleRun(world)
      assertVerb(await call(world, '/agent/cancel', { body: { run_id } }), run_id, ['cancelled'])
      assertError(
        await call(world, '/agent/cancel', { body: { run_id } }),
        400,
        'invalid_state',
        'Cannot cancel run in status: cancelled',
      )
      assertError(
        await call(world, '/agent/cancel', { body: {} }),
        400,
        'run_id_required',
        'run_id is required',
      )
      assertError(
        await call(world, '/agent/cancel', { body: { run_id: GHOST } }),
        404,
        'run_not_found',
        'Run not found',
      )
    },
  },
  {
    name: 'retry: a new run with the same prompt, mode, project and connectors',
    async run(world) {
      const project_id = crypto.randomUUID()
      const first = await cancelledRun(world, {
        mode: 'research',
        project_id,
        connector_ids: ['github', 'slack'],
      })
      const answer = await execute(world, { action: 'retry', run_id: first })
      assert.equal(answer.status, 201, answer.text)
      const { run_id, task, status: state } = answer.body
      await execute(world, { action: 'stop', run_id })
      assert.notEqual(run_id, first)
      assert.deepEqual(
        [task.id, task.run_id, task.prompt, task.status, state],
        [run_id, run_id, 'What is 6 times 7?', 'queued', 'queued'],
      )
      const run = await runOf(world, run_id)
      assert.deepEqual([run.mode, run.project_id, run.metadata.retry_of], ['research', project_id, first])
    },
  },
  {
    name: 'retry: not of a run that is not final, nor of a completed one',
    needs: ['runs'],
    async run(world) {
      assertError(
        await execute(world, { action: 'retry', run_id: await idleRun(world) }),
        400,
        'invalid_state',
        'Cannot retry run in status: created',
      )
      assertError(
        await execute(world, { action: 'retry', run_id: await demoRun(world) }),
        400,
        'invalid_state',
        'Cannot retry run in status: completed',
      )
    },
  },
  {
    name: 'pause holds, resume answers executing and makes the input a user message',
    async run(world) {
      const run_id = await pausedRun(world)
      assert.equal((await runOf(world, run_id)).status, 'paused')
      const answer = await execute(world, { action: 'resume', run_id, user_input: 'In French, please' })
      assertVerb(answer, run_id, ['executing'])
      const { messages } = (await status(world, { run_id })).body
      assert.ok(
        messages.some((message: Loose) => message.role === 'user' && message.content === 'In French, please'),
      )
      await execute(world, { action: 'stop', run_id })
      for (const verb of ['resume', 'pause'])
        assertError(
          await execute(world, { action: verb, run_id }),
          400,
          'invalid_state',
          `Cannot ${verb} run in status: cancelled`,
        )
      assertError(
        await execute(world, { action: 'resume', run_id: await idleRun(world) }),
        400,
        'invalid_state',
        'Cannot resume run in status: created',
      )
    },
  },
  {
    name: 'fork: a new run from a step, with another message',
    needs: ['runs'],
    async run(world) {
      const source = await demoRun(world)
      const answer = await execute(world, {
        action: 'fork',
        run_id: source,
        from_step: 0,
        message: 'Hello instead',
      })
      assert.equal(answer.status, 201, answer.text)
      assert.equal(answer.body.task.prompt, 'Hello instead')
      await execute(world, { action: 'stop', run_id: answer.body.run_id })
      assertError(
        await execute(world, { action: 'fork', run_id: source, from_step: 'x' }),
        400,
        'invalid_request',
      )
      assertError(
        await execute(world, { action: 'fork', run_id: source, from_step: 400_000 }),
        400,
        'invalid_request',
      )
    },
  },
  {
    name: 'approve and deny: a run that asks for nothing has no approvals, and an answer to none is 404',
    async run(world) {
      const run_id = await idleRun(world)
      assert.deepEqual((await status(world, { run_id })).body.approvals, [])
      for (const action of ['approve', 'deny']) {
        for (const approval_id of [GHOST, run_id, 'nonsense', ''])
          assertError(
            await execute(world, { action, run_id, approval_id, message: 'Not now' }),
            404,
            'not_found',
            'Approval not found',
          )
        for (const approval_id of [undefined, null, 7])
          assertError(await execute(world, { action, run_id, approval_id }), 400, 'invalid_request')
        assertError(
          await execute(world, { action, run_id, approval_id: GHOST, message: 7 }),
          400,
          'invalid_request',
        )
      }
      assert.equal((await runOf(world, run_id)).status, 'created')
    },
  },
  {
    name: 'delete: a final run is gone, another stays',
    async run(world) {
      const open = await idleRun(world)
      assertError(
        await execute(world, { action: 'delete', run_id: open }),
        400,
        'invalid_state',
        'Cannot delete run in status: created',
      )
      const run_id = await cancelledRun(world)
      assertVerb(await execute(world, { action: 'delete', run_id }), run_id, ['cancelled'])
      assertError(await status(world, { run_id }), 404, 'run_not_found', 'Run not found')
      assertError(await execute(world, { action: 'delete', run_id }), 404, 'run_not_found', 'Run not found')
    },
  },
  {
    name: 'a tag stands for its runs',
    async run(world) {
      const tag = `contract-${crypto.randomUUID()}`
      const runs = [await idleRun(world, { tags: [tag] }), await idleRun(world, { tags: [tag] })]
      const answer = await execute(world, { action: 'stop', tag })
      assert.equal(answer.status, 200, answer.text)
      assert.deepEqual(
        answer.body.results.map((result: Loose) => [result.run_id, result.success, result.status]),
        runs.map((id) => [id, true, 'cancelled']),
      )
      assert.deepEqual([answer.body.tag, answer.body.count, answer.body.has_more], [tag, 2, false])
    },
  },
  {
    name: 'anything else is 400: unknown actions, a missing run_id',
    async run(world) {
      for (const action of ['dance', '', 'CREATE', 'constructor', '__proto__'])
        assertError(
          await execute(world, { action, run_id: GHOST }),
          400,
          'unknown_action',
          `Unknown action: ${action}`,
        )
      assertError(await execute(world, { run_id: GHOST }), 400, 'unknown_action')
      for (const action of VERBS) {
        const fields = action === 'fork' ? { from_step: 0 } : {}
        for (const run_id of [undefined, null, '', ' '])
          assertError(
            await execute(world, { action, run_id, ...fields }),
            400,
            'run_id_required',
            'run_id is required',
          )
      }
    },
  },
  {
    name: "somebody else's run, one that never was and nonsense are one answer: 404 Run not found",
    async run(world) {
      const run_id = await idleRun(world)
      for (const action of VERBS) {
        for (const id of [run_id, GHOST, 'nonsense', `${run_id}'`]) {
          const answer = await execute(
            world,
            { action, run_id: id, from_step: 0, approval_id: GHOST },
            { as: world.bob },
          )
          assertError(answer, 404, 'run_not_found', 'Run not found')
          assert.equal(answer.body.success, false)
        }
      }
      assert.equal((await runOf(world, run_id)).status, 'created')
    },
  },
]

/** A run may be over before the pause comes; then another is paused. */
async function pausedRun(world: World): Promise<string> {
  for (;;) {
    const run_id = await idleRun(world)
    await execute(world, { action: 'start', run_id })
    const answer = await execute(world, { action: 'pause', run_id })
    if (answer.status === 200) return run_id
    assertError(answer, 400, 'invalid_state', /^Cannot pause run in status: completed$/)
  }
}
