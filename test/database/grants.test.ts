import pg from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type TestDatabase, testDatabase } from '../../dev/postgres/test-database.ts'
import type { SqlCall } from '../../shared/ports/sql-call.ts'
import { frontStoreOver, stepStoreOver } from '../../shared/ports/store-functions.ts'

// What the catalog says about who may do what; access.test.ts shows what comes of it.

let database: TestDatabase
let owner: pg.Client

beforeAll(async () => {
  database = await testDatabase()
  owner = new pg.Client({ connectionString: database.url('postgres') })
  owner.on('error', () => {})
  await owner.connect()
})
afterAll(async () => {
  await owner.end()
  await database.drop()
})

it('a user and the functions that act for one may read seven tables, and nobody outside anything more', async () => {
  const { rows: granted } = await owner.query<{ table_name: string; grantee: string; privilege: string }>(
    `select table_name, grantee, string_agg(privilege_type, ',' order by privilege_type) as privilege from information_schema.role_table_grants
     where table_schema in ('public', 'private') and grantee in ('anon', 'authenticated', 'agent_front', 'agent_api', 'agent_step', 'PUBLIC', 'service_role')
     group by table_name, grantee order by 1, 2`,
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
    ].flatMap((table_name) =>
      ['agent_front', 'authenticated'].map((grantee) => ({ table_name, grantee, privilege: 'SELECT' })),
    ),
  )
})

it('every table of the exposed schema has row security', async () => {
  const { rows } = await owner.query(
    `select relname from pg_class where relkind in ('r', 'p') and relnamespace = 'public'::regnamespace and not relrowsecurity`,
  )
  expect(rows).toEqual([])
})

/** The functions that a store calls. */
async function callsOf(over: (call: SqlCall) => object): Promise<string[]> {
  const names = new Set<string>()
  const store = over(async (name) => {
    names.add(name)
    return {} as never
  })
  for (const method of Object.values(store)) await method({})
  return [...names]
}

it('functions are executed by the role whose store calls them, and by no other', async () => {
  const callers = new Map<string, string[]>([['agent_sweep', ['agent_step']]])
  for (const [role, over] of [
    ['agent_api', frontStoreOver],
    ['agent_step', stepStoreOver],
  ] as const)
    for (const name of await callsOf(over)) callers.set(name, [...(callers.get(name) ?? []), role])
  const { rows } = await owner.query<{ name: string; roles: string[] }>(
    `select p.proname as name, array(
         select r from unnest(array['anon', 'authenticated', 'service_role', 'agent_api', 'agent_step']) r
         where has_function_privilege(r, p.oid, 'execute') order by r) as roles
       from pg_proc p where p.pronamespace = 'public'::regnamespace and p.proname like 'agent\\_%' order by 1`,
  )
  expect(rows).toEqual(
    [...callers].map(([name, roles]) => ({ name, roles })).toSorted((a, b) => (a.name < b.name ? -1 : 1)),
  )
})

it('inner functions are for the inside', async () => {
  const { rows } = await owner.query(
    `select p.proname as name, r as role
       from pg_proc p, unnest(array['anon', 'authenticated', 'service_role', 'agent_api', 'agent_step']) r
       where p.pronamespace = 'private'::regnamespace and has_function_privilege(r, p.oid, 'execute') order by 1`,
  )
  expect(rows).toEqual([
    { name: 'current_user_id', role: 'authenticated' },
    { name: 'is_to_remove', role: 'agent_step' },
  ])
})

it('functions cannot step around row security, and resolve no name by a search path', async () => {
  const { rows: open } = await owner.query(
    `select p.oid::regprocedure::text as name, r.rolname, r.rolbypassrls or r.rolsuper as bypass, p.proconfig
     from pg_proc p join pg_roles r on r.oid = p.proowner join pg_namespace n on n.oid = p.pronamespace
     where (n.nspname = 'private' or p.proname like 'agent\\_%') and n.nspname in ('private', 'public')
       and ((p.prosecdef and (r.rolbypassrls or r.rolsuper))
         -- a body that was parsed when it was made looks nothing up later
         or (p.prosqlbody is null and not coalesce(p.proconfig, '{}') @> array['search_path=""']))`,
  )
  expect(open).toEqual([])
})
