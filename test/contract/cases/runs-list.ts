import assert from 'node:assert/strict'
import { assertError, call, idleRun, type Loose } from '../call.ts'
import type { Case, Member, World } from '../installation.ts'

async function paged(world: World, query: string, as: Member): Promise<string[]> {
  const ids: string[] = []
  let cursor: string | null = null
  for (let page = 0; page < 1000; page += 1) {
    const { body, status, text } = await call(
      world,
      `/agent/runs?${query}${cursor === null ? '' : `&before=${encodeURIComponent(cursor)}`}`,
      { as },
    )
    assert.equal(status, 200, text)
    assert.equal(body.count, body.runs.length)
    ids.push(...body.runs.map((run: Loose) => run.id))
    assert.equal(body.next_cursor === null, !body.has_more)
    if (!body.has_more) return ids
    cursor = body.next_cursor
  }
  throw new Error('the pages do not end')
}

export const runsListCases: Case[] = [
  {
    name: 'own runs, newest first, filtered by status, with their progress',
    needs: ['api'],
    async run(world) {
      const made = [await idleRun(world), await idleRun(world), await idleRun(world)]
      const { body } = await call(world, '/agent/runs?status=created&limit=500')
      const ids = body.runs.map((run: Loose) => run.id)
      const places = made.map((id) => ids.indexOf(id))
      assert.ok(places.every((place) => place >= 0))
      assert.deepEqual(
        places,
        places.toSorted((a, b) => b - a),
      )
      for (const run of body.runs) {
        assert.equal(run.status, 'created')
        assert.equal(run.user_id, world.alice.id)
        assert.ok(Number.isInteger(run.progress_percentage))
      }
      const { body: theirs } = await call(world, '/agent/runs?limit=500', { as: world.bob })
      for (const id of made) assert.ok(!theirs.runs.some((run: Loose) => run.id === id))
    },
  },
  {
    name: 'pages neither lose nor repeat runs of the very same moment',
    needs: ['api', 'local'],
    async run(world) {
      const member = await world.hooks?.member('lister')
      assert.ok(member)
      for (let n = 0; n < 7; n += 1) await idleRun(world, {}, { as: member })
      await world.hooks?.query(
        'update public.agent_runs set created_at = date_trunc($2, created_at) where user_id = $1',
        [member.id, 'hour'],
      )
      const all = await paged(world, 'limit=500', member)
      assert.equal(all.length, 7)
      for (const limit of [1, 2, 3]) assert.deepEqual(await paged(world, `limit=${limit}`, member), all)
      const { body } = await call(
        world,
        `/agent/runs?before=${encodeURIComponent(new Date(Date.now() + 60_000).toISOString())}`,
        { as: member },
      )
      assert.deepEqual(
        body.runs.map((run: Loose) => run.id),
        all,
      )
    },
  },
  {
    name: 'a bad status, a bad cursor: 400; limits are clamped',
    needs: ['api'],
    async run(world) {
      await idleRun(world)
      for (const query of ['status=dancing', 'before=yesterday', `before=${'x'.repeat(300)}`])
        assertError(await call(world, `/agent/runs?${query}`), 400, 'invalid_request')
      for (const limit of ['0', '-1'])
        assert.equal((await call(world, `/agent/runs?limit=${limit}`)).body.count, 1)
      for (const query of ['limit=x', 'limit=', 'status=&before=', 'status=undefined'])
        assert.equal((await call(world, `/agent/runs?${query}`)).status, 200)
    },
  },
]
