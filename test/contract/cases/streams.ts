import assert from 'node:assert/strict'
import { assertError, call, cancelledRun, execute, idleRun, type Loose, logs } from '../call.ts'
import { type Frame, follow } from '../follow.ts'
import type { Case, World } from '../installation.ts'
import { demoRun } from '../runs.ts'

const GHOST = '0f0f0f0f-0000-4000-8000-00000000000f'
const stored = (frames: readonly Frame[]) =>
  frames.filter((frame) => frame.id !== undefined).map(({ id, event, data }) => [id, event, data.type])

function assertStreamHeaders(headers: Headers): void {
  assert.match(headers.get('content-type') ?? '', /^text\/event-stream/)
  assert.match(headers.get('cache-control') ?? '', /^no-cache, no-transform$/)
  assert.equal(headers.get('x-accel-buffering'), 'no')
  assert.match(headers.get('x-request-id') ?? '', /^.{8,}$/)
}

async function ticketFor(world: World, run_id: string): Promise<string> {
  const answer = await call(world, '/agent/stream-ticket', { body: { run_id } })
  assert.equal(answer.status, 200, answer.text)
  assert.deepEqual([answer.body.success, answer.body.expires_in], [true, 60])
  return answer.body.ticket
}

export const streamCases: Case[] = [
  {
    name: 'both named URLs tell a finished run alike, each event named twice, in order, every call with its result',
    needs: ['api', 'runs'],
    async run(world) {
      const run_id = await demoRun(world)
      const [one, two] = await Promise.all([
        follow(world, `/agent/run/${run_id}/stream`),
        follow(world, `/agent/stream/${run_id}`),
      ])
      assertStreamHeaders(one.headers)
      assert.deepEqual([one.end, two.end], ['clean', 'clean'])
      assert.deepEqual(stored(one.frames), stored(two.frames))
      for (const { event, data } of one.frames) assert.equal(event, data.type)
      const of = (name: string) => one.frames.filter(({ event }) => event === name).map(({ data }) => data)
      assert.deepEqual(
        of('tool_result').map((data) => data.step_id),
        of('tool_call').map((data) => data.step_id),
      )
      assert.deepEqual(
        [of('complete').length, of('error').length, one.frames.at(-1)?.event],
        [1, 0, 'complete'],
      )
      const progress = of('status').map((data) => data.progress)
      assert.deepEqual(
        progress,
        progress.toSorted((a, b) => a - b),
      )
    },
  },
  {
    name: 'Last-Event-ID, in the header or the query, goes on exactly after it; after the end 204',
    needs: ['api', 'runs'],
    async run(world) {
      const run_id = await demoRun(world)
      const named = [`/agent/run/${run_id}/stream`, `/agent/stream/${run_id}`]
      for (const path of named) assertError(await call(world, `${path}?since=soon`), 400, 'invalid_request')
      for (const path of [
        ...named,
        ...world.paths.logs.map((logs) => `${logs}?run_id=${run_id}&mode=stream`),
      ]) {
        const whole = (await follow(world, path)).frames.filter(({ id }) => id !== undefined)
        const picks = [0, Math.floor(whole.length / 2), whole.length - 2]
        for (const index of picks) {
          const id = whole[index]?.id ?? ''
          const expected = stored(whole.slice(index + 1))
          const byHeader = await follow(world, path, { headers: { 'last-event-id': id } })
          const byQuery = await follow(world, `${path}${path.includes('?') ? '&' : '?'}last_event_id=${id}`)
          assert.deepEqual(
            [stored(byHeader.frames), stored(byQuery.frames)],
            [expected, expected],
            `after ${id}`,
          )
        }
        const over = await follow(world, path, { headers: { 'last-event-id': whole.at(-1)?.id ?? '' } })
        assert.deepEqual([over.status, over.frames], [204, []])
      }
    },
  },
  {
    name: 'the plain stream: its headers, `since`, and complete whatever the end was',
    async run(world) {
      const run_id = await cancelledRun(world)
      const [path] = world.paths.logs
      const { headers, frames, end } = await follow(world, `${path}?run_id=${run_id}&mode=stream`)
      assertStreamHeaders(headers)
      assert.equal(end, 'clean')
      assert.deepEqual(frames[0]?.data, { type: 'connected', run_id })
      assert.deepEqual(frames.at(-1)?.data, { type: 'complete', status: 'cancelled' })
      const rows = frames.filter(({ data }) => data.type === 'log').map(({ data }) => data.data)
      assert.deepEqual(rows, (await logs(world, { run_id })).body.logs)
      const first = rows[0]
      for (const since of [String(first.seq), first.created_at]) {
        const later = await follow(
          world,
          `${path}?run_id=${run_id}&mode=stream&since=${encodeURIComponent(since)}`,
        )
        assert.deepEqual(
          later.frames.flatMap(({ data }) => (data.type === 'log' ? [data.data.seq] : [])),
          rows.slice(1).map((row) => row.seq),
        )
      }
      assertError(
        await call(world, `${path}?run_id=${run_id}&mode=stream&since=soon`),
        400,
        'invalid_request',
      )
    },
  },
  {
    name: 'a live reader sees a cancellation as it happens, as error without complete',
    needs: ['api'],
    async run(world) {
      const run_id = await idleRun(world)
      const { frames, end } = await follow(world, `/agent/run/${run_id}/stream`, {
        onFrame: async ({ event }) => {
          if (event === 'status') await execute(world, { action: 'stop', run_id })
        },
      })
      assert.equal(end, 'clean')
      assert.equal(frames.at(-1)?.event, 'error')
      assert.equal(frames.at(-1)?.data.status, 'cancelled')
      assert.ok(frames.every(({ event }) => event !== 'complete'))
    },
  },
  {
    name: 'a ticket opens its own run’s stream without a header, again and again, and 204 after the end',
    needs: ['api'],
    async run(world) {
      const run_id = await cancelledRun(world)
      const ticket = await ticketFor(world, run_id)
      const path = `/agent/run/${run_id}/stream?ticket=${ticket}`
      const first = await follow(world, path, { as: null })
      assert.equal(first.frames.at(-1)?.event, 'error')
      assert.equal((await follow(world, path, { as: null })).status, 204)
      const other = await cancelledRun(world)
      assertError(
        await call(world, `/agent/run/${other}/stream?ticket=${ticket}`, { as: null }),
        401,
        'unauthorized',
      )
    },
  },
  {
    name: 'without a ticket or a token a stream is 401; ?token= too, unless it is allowed',
    needs: ['api'],
    async run(world) {
      const run_id = await idleRun(world)
      for (const query of [
        '',
        '?ticket=',
        '?ticket=x',
        `?ticket=${'x'.repeat(43)}`,
        `?ticket=${'x'.repeat(5000)}`,
        `?token=${world.alice.token}`,
      ])
        assertError(
          await call(world, `/agent/run/${run_id}/stream${query}`, { as: null }),
          401,
          'unauthorized',
          'Unauthorized',
        )
    },
  },
  {
    name: 'streams and tickets of somebody else’s run, one that never was and nonsense are one answer',
    needs: ['api'],
    async run(world) {
      const run_id = await idleRun(world)
      for (const id of [run_id, GHOST, 'nonsense']) {
        for (const path of [`/agent/run/${id}/stream`, `/agent/stream/${id}`])
          assertError(await call(world, path, { as: world.bob }), 404, 'run_not_found', 'Run not found')
        assertError(
          await call(world, '/agent/stream-ticket', { as: world.bob, body: { run_id: id } }),
          404,
          'run_not_found',
          'Run not found',
        )
      }
      assertError(
        await call(world, '/agent/stream-ticket', { body: {} }),
        400,
        'run_id_required',
        'run_id is required',
      )
    },
  },
  {
    name: 'a broken last id starts over, where nothing can be missed',
    needs: ['api'],
    async run(world) {
      const run_id = await cancelledRun(world)
      const path = `/agent/stream/${run_id}`
      const whole: Loose = stored((await follow(world, path)).frames)
      for (const id of ['x', '-1', '1.x', '9'.repeat(30)])
        assert.deepEqual(
          stored((await follow(world, path, { headers: { 'last-event-id': id } })).frames),
          whole,
          id,
        )
    },
  },
]
