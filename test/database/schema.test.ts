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

it('no function of ours can step around row security, and none is open to everybody', async () => {
  const open = await rows(
    'postgres',
    `select p.oid::regprocedure::text as name, r.rolname, r.rolbypassrls or r.rolsuper as bypass, p.proconfig
     from pg_proc p join pg_roles r on r.oid = p.proowner join pg_namespace n on n.oid = p.pronamespace
     where (n.nspname = 'private' or p.proname like 'agent\\_%') and n.nspname in ('private', 'public')
       and ((p.prosecdef and (r.rolbypassrls or r.rolsuper))
         -- a body that was parsed when it was made looks nothing up later
         or (p.prosqlbody is null and not coalesce(p.proconfig, '{}') @> array['search_path=""'])
         or has_function_privilege('anon', p.oid, 'execute')
         or (has_function_privilege('authenticated', p.oid, 'execute') and p.proname <> 'current_user_id'))`,
  )
  expect(open).toEqual([])
})

it('anon has nothing, authenticated may read seven tables and nothing more', async () => {
  const granted = await rows<{ table_name: string; grantee: string; privilege: string }>(
    'postgres',
    `select table_name, grantee, string_agg(privilege_type, ',' order by privilege_type) as privilege from information_schema.role_table_grants
     where table_schema in ('public', 'private') and grantee in ('anon', 'authenticated', 'agent_api', 'agent_step', 'PUBLIC', 'service_role')
     group by table_name, grantee order by 1`,
  )
  expect(granted).toEqual(
    [
      'agent_artifacts',
      'agent_messages',
      'agent_run_connectors',
      'agent_runs',
      'agent_steps',
      'agent_task_logs',
      'credit_balances',
    ].map((table_name) => ({ table_name, grantee: 'authenticated', privilege: 'SELECT' })),
  )
})
