import { readFile, writeFile } from 'node:fs/promises'
import pg from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { dumpSchema } from '../../dev/postgres/dump-schema.ts'
import { type TestDatabase, testDatabase } from '../../dev/postgres/test-database.ts'
import { RUN_TRANSITIONS, type RunStatus } from '../../shared/core/run.ts'

const FILE = new URL('../../supabase/schema.sql', import.meta.url)
let database: TestDatabase

beforeAll(async () => {
  database = await testDatabase()
})
afterAll(() => database.drop())

async function rows<T extends pg.QueryResultRow>(role: string, text: string): Promise<T[]> {
  const client = new pg.Client({ connectionString: database.url(role) })
  await client.connect()
  try {
    return (await client.query<T>(text)).rows
  } finally {
    await client.end()
  }
}

it('the reviewed schema is what the migrations make', async () => {
  const dump = await dumpSchema(database.url('postgres'))
  if (process.env['UPDATE_SCHEMA'] === '1') await writeFile(FILE, dump)
  expect(dump).toBe(await readFile(FILE, 'utf8'))
})

it('SQL and TypeScript allow the same transitions', async () => {
  const stored = await rows<{ from_status: RunStatus; to_status: RunStatus }>(
    'postgres',
    'select * from private.run_transitions',
  )
  const pairs = Object.entries(RUN_TRANSITIONS).flatMap(([from, tos]) => tos.map((to) => `${from} → ${to}`))
  expect(
    stored
      .map(({ from_status, to_status }) => `${from_status} → ${to_status}`)
      .toSorted((a, b) => a.localeCompare(b)),
  ).toEqual(pairs.toSorted((a, b) => a.localeCompare(b)))
})
