import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { sha256Hex as sha256 } from '../../shared/engine/job-token.ts'
import {
  API,
  ASKERS,
  type Asker,
  EXECUTORS,
  FOREIGN_SCHEMAS,
  INNER,
  PUBLISHED,
  type Reach,
  SEQUENCES,
  TABLES,
  UPLOADS,
  VERBS,
  type Verb,
} from './expectations.ts'
import { type DoorWorld, doorWorld, type Person } from './world.ts'

let world: DoorWorld
let client: pg.Client
let cells = 0

beforeAll(async () => {
  world = await doorWorld()
  // whoever PostgREST is: it logs in as authenticator and becomes the role of the token
  client = new pg.Client({ connectionString: world.project.database.url('authenticator') })
  await client.connect()
})
afterAll(async () => {
  await client.end()
  await world.close()
  console.log(`tenancy matrix, database: ${cells} cells`)
})

const isUser = (asker: Asker) => ['alice', 'twin', 'stranger', 'nobody'].includes(asker)

function claimsOf(asker: Asker): Record<string, unknown> {
  const { alice, twin } = world.people
  const role = isUser(asker) ? 'authenticated' : asker
  if (asker === 'alice') return { iss: alice.issuer, sub: alice.sub, role }
  if (asker === 'twin') return { iss: twin.issuer, sub: twin.sub, role }
  if (asker === 'stranger') return { iss: 'https://stranger.example/auth/v1', sub: alice.sub, role }
  return { role }
}

/** Runs `work` as the asker and undoes all of it. */
async function as<T>(asker: Asker, work: () => Promise<T>): Promise<T> {
  await client.query('begin')
  try {
    const role = isUser(asker) ? 'authenticated' : asker
    await client.query(`set local role ${role}`)
    await client.query(`select set_config('request.jwt.claims', $1, true)`, [JSON.stringify(claimsOf(asker))])
    return await work()
  } finally {
    await client.query('rollback')
  }
}

/** The number of rows a statement reached; 'refused' for insufficient privilege, which a policy's check also raises. */
async function attempt(text: string, values: unknown[] = []): Promise<number | string> {
  await client.query('savepoint one')
  try {
    return (await client.query(text, values)).rowCount ?? 0
  } catch (error) {
    const { code } = error as pg.DatabaseError
    return code === '42501' ? 'refused' : `error ${code}`
  } finally {
    await client.query('rollback to savepoint one')
  }
}

interface Table {
  name: string
  schema: string
  columns: { name: string; nullable: boolean }[]
}
/** Every relation that holds rows, of all schemas that are not the server's own. */
function tables(): Promise<Table[]> {
  return world.project.sql<Table>(
    `select c.oid::regclass::text as name, n.nspname as schema, (select json_agg(json_build_object('name', quote_ident(attname), 'nullable',
       not attnotnull) order by attnum) from pg_attribute where attrelid = c.oid and attnum > 0 and not attisdropped and attgenerated = ''
       and attidentity = '') as columns
     from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'p', 'v', 'm', 'f') and n.nspname !~ '^(pg_|information_schema)' and n.nspname <> all ($1) order by 1`,
    [FOREIGN_SCHEMAS],
  )
}
const fullName = ({ name, schema }: Table) => (name.startsWith(`${schema}.`) ? name : `${schema}.${name}`)

it('every schema is either in the matrix or known to be of somebody else', async () => {
  const schemas = await world.project.sql<{ name: string }>(
    `select nspname as name from pg_namespace where nspname !~ '^(pg_|information_schema)' order by 1`,
  )
  expect(schemas.map(({ name }) => name)).toEqual([
    ...FOREIGN_SCHEMAS,
    'private',
    'public',
    'storage',
    'supabase_migrations',
  ])
})

it('every table has a row in the expectations, and every row its table', async () => {
  expect(new Set((await tables()).map(fullName))).toEqual(new Set(Object.keys(TABLES)))
})

/** Which rows are whose: by user_id, in Storage by folder. */
function predicate(table: string, reach: Reach, asker: Asker, verb: Verb): string {
  if (reach === 'all') return 'true'
  if (reach === 'none') return 'false'
  if (reach === 'bytes of runs')
    return `${table === 'storage.buckets' ? 'id' : 'bucket_id'} in ('agent-workspaces', 'agent-outputs')`
  const owner = asker === 'twin' ? world.people.twin : world.people.alice
  if (table !== 'storage.objects') return `user_id = '${owner.userId}'`
  const inputs = `(bucket_id = 'agent-inputs' and name like '${owner.sub}/%')`
  const outputs = `(bucket_id = 'agent-outputs' and name like '${owner.userId}/%')`
  // a user of no known issuer has no results
  return verb === 'select' && asker !== 'stranger' ? `(${inputs} or ${outputs})` : inputs
}

describe('tables × roles × verbs, own and foreign rows', () => {
  it.each(Object.keys(TABLES))('%s', async (name) => {
    const table = (await tables()).find((one) => fullName(one) === name)
    if (table === undefined) throw new Error('no such table')
    const { alice, bob } = world.people
    const sample = async (person: Person) => {
      const rows = await world.project.sql<{ row: Record<string, unknown> }>(
        `select to_jsonb(t) as row from ${name} t order by (to_jsonb(t)::text like $1) desc limit 1`,
        [`%${name === 'storage.objects' ? `"agent-inputs"%${person.sub}` : person.userId}%`],
      )
      return rows[0]?.row ?? {}
    }
    const [own, foreign] = [await sample(alice), await sample(bob)]
    const columns = table.columns.map((column) => column.name).join(', ')
    const target = table.columns.findLast(({ nullable }) => nullable)?.name
    const first = table.columns[0]?.name ?? ''
    const insert = `insert into ${name} (${columns}) select ${columns} from jsonb_populate_record(null::${name}, $1)`
    const statements: Record<Verb, [string, unknown[]]> = {
      select: [`select 1 from ${name}`, []],
      insert: [insert, [own]],
      'insert foreign': [insert, [foreign]],
      update: [`update ${name} set ${target === undefined ? `${first} = ${first}` : `${target} = null`}`, []],
      delete: [`delete from ${name}`, []],
      truncate: [`truncate ${name} cascade`, []],
    }
    const found: Record<string, unknown> = {}
    const expected: Record<string, unknown> = {}
    for (const asker of ASKERS) {
      // Storage's own grants allow a TRUNCATE, which no API has a way to ask for.
      for (const verb of VERBS.filter((one) => one !== 'truncate' || table.schema !== 'storage')) {
        const cell = `${asker} ${verb}`
        const reach = TABLES[name]?.[asker]?.[verb]
        const [text, values] = statements[verb]
        const outcome = await as(asker, () => attempt(text, values))
        cells += 1
        if (verb.startsWith('insert')) {
          // let in as far as the row itself: that it is there already is no matter of rights
          found[cell] = outcome === 'refused' ? 'refused' : 'let in'
          expected[cell] = reach === undefined ? 'refused' : 'let in'
          continue
        }
        found[cell] = outcome
        if (reach === undefined) expected[cell] = 'refused'
        else {
          const [row] = await world.project.sql<{ n: number }>(
            `select count(*)::int as n from ${name} where ${predicate(name, reach, asker, verb)}`,
          )
          // a constraint was asked only after the rights were
          expected[cell] = String(outcome).startsWith('error 23') ? outcome : row?.n
          if (reach === 'own') expect([cell, (row?.n ?? 0) > 0]).toEqual([cell, true])
        }
      }
    }
    expect(found).toEqual(expected)
  })
})

it('what a user may read is read by the foreign id too: nothing', async () => {
  const { alice, bob } = world.people
  for (const name of PUBLISHED) {
    const column = name === 'public.agent_runs' ? 'id' : 'run_id'
    const read = (id: string) =>
      as('alice', () => attempt(`select 1 from ${name} where ${column} = $1`, [id]))
    expect([name, Number(await read(alice.runId)) > 0, await read(bob.runId)]).toEqual([name, true, 0])
    cells += 2
  }
})

it('uploads by bucket, into the own and into a foreign folder', async () => {
  const { alice, bob } = world.people
  for (const [bucket, allowed] of Object.entries(UPLOADS)) {
    for (const asker of ASKERS) {
      for (const person of [alice, bob]) {
        const text = `insert into storage.objects (bucket_id, name) values ($1, $2)`
        const outcome = await as(asker, () => attempt(text, [bucket, `${person.sub}/new`]))
        const may = allowed.includes(asker) && (person === alice || !isUser(asker))
        expect([bucket, asker, person === alice, outcome]).toEqual([
          bucket,
          asker,
          person === alice,
          may ? 1 : 'refused',
        ])
        cells += 1
      }
    }
  }
  const buckets = await world.project.sql<{ id: string; public: boolean }>(
    'select id, public from storage.buckets order by 1',
  )
  expect(new Set(Object.keys(UPLOADS))).toEqual(new Set(buckets.map(({ id }) => id)))
  expect(buckets).toEqual(
    ['agent-inputs', 'agent-outputs', 'agent-workspaces'].map((id) => ({ id, public: false })),
  )
})

it('sequences', async () => {
  const found = await world.project.sql<{ name: string; roles: string[] }>(
    `select n.nspname || '.' || c.relname as name, array(select r from unnest($1::text[]) r
       where has_sequence_privilege(r, c.oid, 'usage, select, update')) as roles
     from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind = 'S' and n.nspname in ('public', 'private') order by 1`,
    [['anon', 'authenticated', 'service_role', 'agent_api', 'agent_step', 'agent_door']],
  )
  cells += found.length * 6
  expect(Object.fromEntries(found.map(({ name, roles }) => [name, roles]))).toEqual(SEQUENCES)
})

it('Realtime publishes the six tables that users read, by primary key, under row security', async () => {
  const published = await world.project.sql<{ name: string; rls: boolean; identity: string }>(
    `select t.schemaname || '.' || t.tablename as name, c.relrowsecurity as rls, c.relreplident as identity
     from pg_publication_tables t join pg_class c on c.oid = format('%I.%I', t.schemaname, t.tablename)::regclass
     where t.pubname = 'supabase_realtime' order by 1`,
  )
  // replica identity "default": what is said of a deleted row is its primary key and nothing else
  expect(published).toEqual(PUBLISHED.map((name) => ({ name, rls: true, identity: 'd' })))
  cells += published.length
})

describe('functions', () => {
  it('each is listed, and may be executed by those who are listed and its owner', async () => {
    const functions = await world.project.sql<{
      schema: string
      name: string
      by: string[]
      everybody: boolean
    }>(
      `select n.nspname as schema, p.proname as name, array(select r from unnest($1::text[]) r where r <> p.proowner::regrole::text
         and has_function_privilege(r, p.oid, 'execute')) as by,
         exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) where grantee = 0) as everybody
       from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname in ('public', 'private') order by 1, 2`,
      [[...EXECUTORS]],
    )
    cells += functions.length * EXECUTORS.length
    expect(functions.filter(({ everybody }) => everybody)).toEqual([])
    const of = (schema: string) =>
      Object.fromEntries(functions.filter((f) => f.schema === schema).map(({ name, by }) => [name, by]))
    expect(of('public')).toEqual(Object.fromEntries(Object.entries(API).map(([name, { by }]) => [name, by])))
    const shared = Object.entries(of('private')).filter(([, by]) => by.length > 0)
    expect(Object.fromEntries(shared)).toEqual(INNER)
  })

  it('nobody from outside becomes the roles that own them', async () => {
    for (const role of [
      'agent_front',
      'agent_engine',
      'postgres',
      'supabase_admin',
      'supabase_storage_admin',
    ]) {
      await client.query('begin')
      expect([role, await attempt(`set local role ${role}`)]).toEqual([role, 'refused'])
      await client.query('rollback')
      cells += 1
    }
  })

  /** One argument that has what any of them wants, so that a refusal is one of rights and not of form. */
  const argument = (principal: Person, run: { runId: string }, secrets: Person) => ({
    principal: principal.principal,
    run_id: run.runId,
    step_number: 2,
    token_sha256: sha256(secrets.jobToken),
    ticket_sha256: sha256(secrets.ticket),
    body_sha256: 'b'.repeat(64),
    expires_at: new Date(Date.now() + 60_000).toISOString(),
    steps: { limit: 5, before: null },
    messages: { limit: 5 },
    artifacts: { limit: 5 },
    logs: { limit: 5 },
    after_seq: 0,
    after_time: null,
    limit: 5,
    before: null,
    status: null,
    user_input: 'x',
    from_step: 0,
    message: null,
    limits: { max_steps: 5, timeout_seconds: 60 },
    opening_units: 1_000_000,
    first_step: { kind: 'model', tool_type: 'plan', tool_name: 'plan', phase_number: 0, cost_units: 0 },
    idempotency: null,
    prompt: 'x',
    mode: 'chat',
    connector_ids: [],
    files: [],
    attachments: [],
    tags: [],
    warnings: [],
    auto_start: true,
    metadata: {},
    verb: 'stop',
    tag: 'shared-tag',
    lease_seconds: 5,
    fence: 1,
    token: '00000000-0000-4000-8000-000000000000',
    delay_seconds: 1,
    deadline_seconds: 60,
    check_seconds: 5,
    job_name: 'j',
    objects: [],
    used: true,
    tokens_used: 0,
    commit: { status: 'completed', next: { kind: 'complete' } },
  })

  it.each(Object.entries(API))('%s', async (name, { by, bound }) => {
    const { alice, bob, twin } = world.people
    const nowhere = { runId: '00000000-0000-4000-8000-0000000000ff' }
    const text = `select public.${name}($1::jsonb) as answer`
    const ask = async (value: unknown) => {
      await client.query('savepoint one')
      try {
        return (await client.query<{ answer: unknown }>(text, [value])).rows[0]?.answer
      } catch (error) {
        const { code, message, hint, detail } = error as pg.DatabaseError
        return { refused: { code, message, hint, detail } }
      } finally {
        await client.query('rollback to savepoint one')
      }
    }
    for (const asker of ASKERS.filter((one) => !by.some((role) => role === one))) {
      const answer = await as(asker, () => ask(argument(alice, alice, alice)))
      expect([asker, answer]).toMatchObject([asker, { refused: { code: '42501' } }])
      cells += 1
    }
    const [role] = by as readonly Asker[]
    if (role === undefined || bound === 'nothing') return
    const asRole = (value: unknown) => as(role, () => ask(value))
    const own = await asRole(argument(alice, alice, alice))
    for (const attacker of [bob, twin]) {
      const foreign = await asRole(argument(attacker, alice, attacker))
      const unknown = await asRole(argument(attacker, nowhere, attacker))
      cells += 3
      if (bound === 'run') {
        expect(foreign).toEqual({
          refused: { code: 'PT404', message: 'Run not found', hint: 'run_not_found', detail: '' },
        })
        expect(foreign).toEqual(unknown)
        expect(JSON.stringify(own)).not.toContain('run_not_found')
      } else if (bound === 'user') {
        expect(JSON.stringify(foreign)).not.toContain(alice.runId)
        expect(JSON.stringify(foreign)).not.toContain(`"user_id": "${alice.userId}"`)
      } else if (bound === 'ticket' && name !== 'agent_close_ticket') {
        expect(foreign).toMatchObject({ refused: { code: 'PT401' } })
        expect(foreign).toEqual(unknown)
        expect(own).toMatchObject({ connection: 1 })
      } else if (bound === 'job') {
        expect(foreign).toMatchObject({ refused: { code: 'PT401', message: 'Unknown job' } })
        expect(foreign).toEqual(unknown)
        expect(JSON.stringify(own)).not.toContain('Unknown job')
      } else if (bound === 'fence') {
        expect(foreign).toEqual(await asRole(argument(alice, alice, alice)))
        expect(JSON.stringify(foreign)).toMatch(/"(committed|held|settled)":false/)
      }
    }
  })

  it('calls for foreign runs, one after another and kept, change nothing of theirs', async () => {
    const { alice, bob, twin } = world.people
    const before = await world.traces(alice)
    const calls = Object.entries(API).filter(([, { bound }]) => !['nothing', 'system'].includes(bound))
    for (const [name, { by }] of calls) {
      for (const attacker of [bob, twin]) {
        await client.query('begin')
        await client.query(`set local role ${by[0]}`)
        await client.query('savepoint one')
        await client
          .query(`select public.${name}($1::jsonb)`, [
            { ...argument(attacker, alice, attacker), tag: 'none', prompt: 'mine' },
          ])
          .catch(() => client.query('rollback to savepoint one'))
        await client.query('commit')
        cells += 1
      }
    }
    expect(await world.traces(alice)).toBe(before)
  })
})
