import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TestDatabase, testDatabase } from '../../dev/postgres/test-database.ts'
import type { Principal } from '../../shared/ports/identity.ts'
import {
  artifactOf,
  carryOut,
  runWithTools,
  someone,
  toolCommit,
  toolStep,
} from '../../shared/ports/store-kit.suite.ts'
import { databaseControls } from '../engine/database-controls.ts'
import { postgresStores } from '../engine/sql-stores.ts'

// What row security and grants give to each role, asked the way that PostgREST and Storage ask: as the role, with the token's claims.

const READABLE = [
  'agent_runs',
  'agent_steps',
  'agent_messages',
  'agent_artifacts',
  'agent_run_connectors',
  'agent_task_logs',
  'credit_balances',
]
const alice = someone()
const bob = someone()
/** Of an issuer whose subjects are not our ids. */
const carol = someone({ issuer: 'https://other.example/auth/v1', user_id_from: 'new' })
let carolsId = ''
let database: TestDatabase
let owner: pg.Client
let stores: Awaited<ReturnType<typeof postgresStores>>

beforeAll(async () => {
  database = await testDatabase()
  owner = new pg.Client({ connectionString: database.url('supabase_admin') })
  owner.on('error', () => {})
  await owner.connect()
  stores = await postgresStores(database)
  const sql = async (text: string, values?: unknown[]) => (await owner.query(text, values)).rows
  const fixture = { ...stores, ...databaseControls(sql) }
  for (const who of [alice, bob, carol]) {
    const run = await runWithTools(fixture, who, [toolStep('a')], { connector_ids: ['github'] })
    await carryOut(
      fixture,
      run,
      2,
      toolCommit({
        artifacts: [artifactOf('a.txt', `${who.sub}/k`)],
      }),
    )
  }
  const [row] = await sql('select user_id from private.principals where sub = $1', [carol.sub])
  carolsId = row.user_id
})
afterAll(async () => {
  await stores.close()
  await owner.end()
  await database.drop()
})

type Claims = { iss?: string; sub?: string } | null
const claimsOf = ({ issuer, sub }: Principal): Claims => ({ iss: issuer, sub })

/** One statement as `role`, undone afterwards. */
async function as(role: string, claims: Claims, text: string): Promise<Record<string, unknown>[]> {
  await owner.query('begin')
  try {
    await owner.query(`select set_config('request.jwt.claims', $1, true)`, [
      claims === null ? '' : JSON.stringify(claims),
    ])
    await owner.query(`set local role ${role}`)
    return (await owner.query(text)).rows
  } finally {
    await owner.query('rollback')
  }
}
const refused = { code: '42501' }

describe('tables', () => {
  it.each(READABLE)(
    "%s shows a user the own rows and nobody else's, to the API and to our functions",
    async (table) => {
      for (const role of ['authenticated', 'agent_front']) {
        for (const [who, id] of [
          [alice, alice.sub],
          [bob, bob.sub],
          [carol, carolsId],
        ] as const) {
          const rows = await as(role, claimsOf(who), `select distinct user_id from public.${table}`)
          expect([role, rows]).toEqual([role, [{ user_id: id }]])
        }
        for (const claims of [
          null,
          {},
          { sub: alice.sub },
          { iss: 'https://unknown.example', sub: alice.sub },
          // whose id carol has is not who carol is
          { iss: carol.issuer, sub: alice.sub },
          { iss: alice.issuer, sub: carol.sub },
          { iss: alice.issuer, sub: randomUUID() },
        ])
          expect([claims, await as(role, claims, `select user_id from public.${table}`)]).toEqual([
            claims,
            [],
          ])
      }
    },
  )

  it.each(READABLE)('%s is written by nobody outside, and anon does not even read it', async (table) => {
    for (const text of [
      `update public.${table} set user_id = user_id`,
      `delete from public.${table}`,
      `insert into public.${table} default values`,
      `truncate public.${table}`,
    ]) {
      for (const role of ['anon', 'authenticated', 'agent_front', 'agent_api', 'agent_step'])
        await expect(as(role, claimsOf(alice), text), `${role}: ${text}`).rejects.toMatchObject(refused)
    }
    for (const role of ['anon', 'agent_api', 'agent_step'])
      await expect(as(role, claimsOf(alice), `select from public.${table}`), role).rejects.toMatchObject(
        refused,
      )
  })

  it('of the engine are shown to nobody outside', async () => {
    const { rows } = await owner.query<{ name: string }>(
      `select oid::regclass::text as name from pg_class where relkind = 'r'
         and (relnamespace = 'private'::regnamespace or oid = 'public.agent_task_queue'::regclass)`,
    )
    expect(rows.length).toBeGreaterThan(10)
    for (const { name } of rows) {
      for (const role of ['anon', 'authenticated', 'agent_front', 'agent_api', 'agent_step'])
        await expect(
          as(role, claimsOf(alice), `select from ${name}`),
          `${role}: ${name}`,
        ).rejects.toMatchObject(refused)
    }
  })
})

describe('who asks', () => {
  const whoIs = async (claims: Claims) =>
    (await as('authenticated', claims, 'select private.current_user_id() as id'))[0]?.['id']

  it('is told by issuer and subject together', async () => {
    expect(await whoIs(claimsOf(alice))).toBe(alice.sub)
    expect(await whoIs(claimsOf(carol))).toBe(carolsId)
    // one subject at two issuers is two users
    const twin = { ...carol, issuer: 'https://third.example/auth/v1' }
    await stores.front.prepareCreate({ principal: twin, idempotency: null, opening_credits: 1 })
    expect(await whoIs(claimsOf(twin))).not.toBe(carolsId)
    expect(await whoIs(claimsOf(carol))).toBe(carolsId)
  })

  it('is the subject before the first call where it is our id, and nobody elsewhere', async () => {
    const unseen = randomUUID()
    expect(await whoIs({ iss: alice.issuer, sub: unseen })).toBe(unseen)
    expect(await whoIs({ iss: carol.issuer, sub: unseen })).toBeNull()
    expect(await whoIs({ iss: 'https://unknown.example', sub: unseen })).toBeNull()
    // not an error of the cast
    expect(await whoIs({ iss: alice.issuer, sub: 'service-account' })).toBeNull()
    expect(await whoIs({})).toBeNull()
    expect(await whoIs(null)).toBeNull()
  })
})

describe('a service that starts', () => {
  /** What a login that is a member of `roles` is told, beside one of our services. */
  async function told(roles: string[], attributes = ''): Promise<unknown> {
    await owner.query('begin')
    try {
      // the roles of these tests belong to the cluster: they are gone with the transaction
      await owner.query('create role agent_test_super superuser nobypassrls')
      await owner.query(`create role agent_test_login ${attributes}`)
      for (const role of ['agent_api', ...roles]) await owner.query(`grant ${role} to agent_test_login`)
      await owner.query('set local role agent_test_login')
      const { rows } = await owner.query(`select public.agent_ready('{}') as answer`)
      return rows[0].answer
    } finally {
      await owner.query('rollback')
    }
  }
  const role = 'agent_test_login'

  it('is told when row security does not bind it, and through what', async () => {
    expect(await told([])).toEqual({ schema: 1, role, bypass_rls: false, bypass_through: null })
    for (const name of ['service_role', 'agent_engine', 'agent_test_super'])
      expect(await told([name])).toEqual({ schema: 1, role, bypass_rls: true, bypass_through: name })
    expect(await told(['service_role', 'agent_engine'])).toMatchObject({ bypass_through: 'agent_engine' })
    expect(await told(['agent_engine'], 'bypassrls')).toMatchObject({ bypass_through: role })
  })

  it('as it is meant to be is bound', async () => {
    for (const service of ['agent_api', 'agent_step', 'agent_door'])
      expect(await as(service, null, `select public.agent_ready('{}') as answer`)).toEqual([
        { answer: { schema: 1, role: service, bypass_rls: false, bypass_through: null } },
      ])
  })
})

describe('storage', () => {
  const BUCKETS = ['agent-inputs', 'agent-workspaces', 'agent-outputs', 'elsewhere']
  beforeAll(async () => {
    await owner.query(`insert into storage.buckets (id, name) values ('elsewhere', 'elsewhere')`)
    for (const bucket of BUCKETS)
      for (const folder of [alice.sub, bob.sub, carol.sub, carolsId])
        await owner.query(`insert into storage.objects (bucket_id, name) values ($1, $2)`, [
          bucket,
          `${folder}/x`,
        ])
  })
  const seen = async (role: string, claims: Claims) =>
    (await as(role, claims, `select bucket_id || ':' || name as o from storage.objects order by 1`)).map(
      ({ o }) => o,
    )
  /** Returns nothing: the policy of who may see a row would refuse a row that is returned. */
  const insert = (role: string, claims: Claims, bucket: string, name: string) =>
    as(role, claims, `insert into storage.objects (bucket_id, name) values ('${bucket}', '${name}')`)
  const folders = (bucket: string) =>
    [alice.sub, bob.sub, carol.sub, carolsId].map((folder) => `${bucket}:${folder}/x`)

  it('shows a user the own inputs and outputs', async () => {
    expect(await seen('authenticated', claimsOf(alice))).toEqual([
      `agent-inputs:${alice.sub}/x`,
      `agent-outputs:${alice.sub}/x`,
    ])
    // inputs lie under the subject of this project's Auth, outputs under our id
    expect(await seen('authenticated', claimsOf(carol))).toEqual([
      `agent-inputs:${carol.sub}/x`,
      `agent-outputs:${carolsId}/x`,
    ])
    expect(await seen('anon', claimsOf(alice))).toEqual([])
    expect(await seen('authenticated', {})).toEqual([])
  })

  it('takes from a user what goes to the own folder of inputs, and nothing else', async () => {
    await insert('authenticated', claimsOf(alice), 'agent-inputs', `${alice.sub}/y`)
    for (const [bucket, name] of [
      ['agent-inputs', `${bob.sub}/y`],
      ['agent-inputs', 'y'],
      ['agent-outputs', `${alice.sub}/y`],
      ['agent-workspaces', `${alice.sub}/y`],
      ['elsewhere', `${alice.sub}/y`],
    ] as const)
      await expect(insert('authenticated', claimsOf(alice), bucket, name), bucket).rejects.toMatchObject(
        refused,
      )
    // nor is a thing moved to where it could not be put
    for (const change of [`name = '${bob.sub}/z'`, `bucket_id = 'agent-outputs'`])
      await expect(
        as(
          'authenticated',
          claimsOf(alice),
          `update storage.objects set ${change} where bucket_id = 'agent-inputs'`,
        ),
        change,
      ).rejects.toMatchObject(refused)
    const removed = await as(
      'authenticated',
      claimsOf(alice),
      'delete from storage.objects returning bucket_id, name',
    )
    expect(removed).toEqual([{ bucket_id: 'agent-inputs', name: `${alice.sub}/x` }])
  })

  it('gives the services their two buckets', async () => {
    const both = new Set([...folders('agent-workspaces'), ...folders('agent-outputs')])
    for (const role of ['agent_api', 'agent_step', 'agent_door']) {
      expect(new Set(await seen(role, null))).toEqual(both)
      const buckets = await as(role, null, 'select id from storage.buckets order by id')
      expect(buckets.map(({ id }) => id)).toEqual(['agent-outputs', 'agent-workspaces'])
    }
    const may: Record<string, string[]> = {
      agent_api: ['agent-workspaces'],
      agent_step: ['agent-workspaces', 'agent-outputs'],
      agent_door: ['agent-workspaces', 'agent-outputs'],
    }
    for (const [role, buckets] of Object.entries(may)) {
      for (const bucket of BUCKETS) {
        const answer = insert(role, null, bucket, 'new')
        if (buckets.includes(bucket)) await answer
        else await expect(answer, `${role}: ${bucket}`).rejects.toMatchObject(refused)
      }
      await expect(as(role, null, `update storage.objects set name = 'z'`), role).rejects.toMatchObject(
        refused,
      )
    }
    for (const role of ['agent_api', 'agent_door'])
      await expect(as(role, null, 'delete from storage.objects'), role).rejects.toMatchObject(refused)
  })

  it('lets the step service delete what is listed and handed out, by bucket and name', async () => {
    const name = `${alice.sub}/x`
    const listed = [
      ['agent-workspaces', name, 'clock_timestamp()'],
      ['agent-outputs', `${bob.sub}/x`, 'null'],
      ['agent-inputs', name, 'clock_timestamp()'],
    ]
    for (const [bucket, object, handed] of listed)
      await owner.query(
        `insert into private.objects_to_remove (bucket, name, handed_at) values ('${bucket}', '${object}', ${handed})`,
      )
    const gone = await as('agent_step', null, 'delete from storage.objects returning bucket_id, name')
    expect(gone).toEqual([{ bucket_id: 'agent-workspaces', name }])
    // nor more where nothing is read of what is deleted, so that who may see it is not asked
    const left = async (before: string) => {
      await owner.query('begin')
      await owner.query(`${before}; reset role`)
      const { rows } = await owner.query('select count(*)::int as n from storage.objects')
      await owner.query('rollback')
      return rows[0]?.n
    }
    const all = await left('select')
    expect(await left('set local role agent_step; delete from storage.objects')).toBe(all - 1)
    await owner.query('delete from private.objects_to_remove')
  })
})
