import assert from 'node:assert/strict'
import { assertError, call, cancelledRun, idleRun, type Loose, logs } from '../call.ts'
import type { Case } from '../installation.ts'
import { CURSORS } from '../readers/log-readers.ts'
import { demoRun } from '../runs.ts'

const GHOST = '0f0f0f0f-0000-4000-8000-00000000000f'

async function pages(
  fetchPage: (since: string | undefined) => Promise<Loose>,
  next: (body: Loose) => string | null,
): Promise<number[]> {
  const seen: number[] = []
  let since: string | undefined
  for (let page = 0; page < 1000; page += 1) {
    const body = await fetchPage(since)
    assert.equal(body.count, body.logs.length)
    seen.push(...body.logs.map((log: Loose) => log.seq))
    if (body.logs.length === 0) return seen
    since = next(body) ?? undefined
  }
  throw new Error('the pages do not end')
}

export const logCases: Case[] = [
  {
    name: 'every URL of logs pages: {logs, count, has_more, next_cursor}',
    async run(world) {
      const run_id = await cancelledRun(world)
      for (const path of world.paths.logs) {
        const { status, body, text } = await call(world, `${path}?run_id=${run_id}`)
        assert.equal(status, 200, text)
        assert.deepEqual([body.success, body.count, body.has_more], [true, body.logs.length, false])
        assert.equal(body.next_cursor, String(body.logs.at(-1).seq))
        for (const log of body.logs) assert.equal(log.content, log.message)
        const { body: rest } = await call(world, `${path}?run_id=${run_id}&since=${body.next_cursor}`)
        assert.deepEqual(
          [rest.logs, rest.count, rest.has_more, rest.next_cursor],
          [[], 0, false, body.next_cursor],
        )
      }
    },
  },
  {
    name: 'pages by next_cursor and by time neither lose nor repeat a row, at any page size',
    needs: ['runs'],
    async run(world) {
      const run_id = await demoRun(world)
      const { body } = await logs(world, { run_id, limit: '500' })
      const all = body.logs.map((log: Loose) => log.seq)
      assert.deepEqual(
        all,
        all.map((_: number, n: number) => n + 1),
      )
      const nexts = {
        next_cursor: (page: Loose) => page.next_cursor,
        ...Object.fromEntries(
          Object.entries(CURSORS).map(([name, cursor]) => [name, (page: Loose) => cursor(page.logs.at(-1))]),
        ),
      }
      for (const [name, next] of Object.entries(nexts)) {
        for (const limit of ['1', '3', '500'])
          assert.deepEqual(
            await pages(
              async (since) =>
                (await logs(world, { run_id, limit, ...(since === undefined ? {} : { since }) })).body,
              next,
            ),
            all,
            `${name}, ${limit} a page`,
          )
      }
    },
  },
  {
    name: 'limit is clamped, blank words count as nothing, nonsense in since and mode is 400',
    async run(world) {
      const run_id = await cancelledRun(world)
      const count = async (limit: string) => (await logs(world, { run_id, limit })).body.count
      assert.deepEqual([await count('0'), await count('-3'), await count('1')], [1, 1, 1])
      assert.ok((await count('abc')) > 1 && (await count('')) > 1 && (await count('99999')) > 1)
      for (const blank of ['', 'undefined', 'null'])
        assert.equal((await logs(world, { run_id, since: blank, mode: blank })).status, 200)
      assert.equal((await logs(world, { task_id: run_id })).status, 200)
      for (const since of ['yesterday', '2026-02-31', '-1', '1e3'])
        assertError(await logs(world, { run_id, since }), 400, 'invalid_request', /since/)
      assertError(await logs(world, { run_id, mode: 'push' }), 400, 'invalid_request', /mode/)
      for (const path of world.paths.logs)
        assertError(await call(world, path), 400, 'run_id_required', 'run_id is required')
    },
  },
  {
    name: "somebody else's log, one that never was and nonsense are one answer, in pages and as streams",
    async run(world) {
      const run_id = await idleRun(world)
      for (const id of [run_id, GHOST, 'nonsense']) {
        for (const mode of ['polling', 'stream'])
          assertError(
            await logs(world, { run_id: id, mode }, { as: world.bob }),
            404,
            'run_not_found',
            'Run not found',
          )
      }
    },
  },
]
