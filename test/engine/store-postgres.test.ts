import { randomUUID } from 'node:crypto'
import { connect as connectSocket, createServer, type Socket } from 'node:net'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TestDatabase, testDatabase } from '../../dev/postgres/test-database.ts'
import { connect } from '../../shared/adapters/postgres/connection.ts'
import { createFrontStore } from '../../shared/adapters/postgres/front-store.ts'
import { storeSuite } from '../../shared/ports/store.suite.ts'
import type { CreateRun } from '../../shared/ports/store.ts'
import { databaseControls } from './database-controls.ts'
import { principal } from './harness.ts'
import { postgresStores } from './sql-stores.ts'

storeSuite('postgres', async () => {
  const own = await testDatabase()
  const admin = new pg.Pool({ connectionString: own.url('postgres'), max: 2 })
  admin.on('error', () => {})
  const { front, step, close } = await postgresStores(own)
  return {
    front,
    step,
    ...databaseControls(async (text, values) => (await admin.query(text, values)).rows),
    async close() {
      await close()
      await admin.end()
      await own.drop()
    },
  }
})

let database: TestDatabase
let owner: pg.Pool
let stores: Awaited<ReturnType<typeof postgresStores>>

beforeAll(async () => {
  database = await testDatabase()
  owner = new pg.Pool({ connectionString: database.url('postgres'), max: 2 })
  owner.on('error', () => {})
  stores = await postgresStores(database)
})
afterAll(async () => {
  await stores.close()
  await owner.end()
  await database.drop()
})

const newRun = (who = principal()): CreateRun => ({
  principal: who,
  prompt: 'please',
  mode: 'custom',
  project_id: null,
  connector_ids: [],
  metadata: {},
  memory_context: null,
  tags: [],
  attachments: [],
  files: [],
  auto_start: true,
  limits: { max_steps: 50, timeout_seconds: 600 },
  opening_credits: 100,
  idempotency: null,
  warnings: [],
})
const runs = async () => Number((await owner.query('select count(*) from public.agent_runs')).rows[0].count)

describe('the role', () => {
  it('is one that row security binds, and may execute its functions and nothing else', async () => {
    await stores.front.ready()
    await stores.step.ready()
    for (const [role, other] of [
      ['agent_api_test', 'agent_claim_step'],
      ['agent_step_test', 'agent_create_run'],
    ]) {
      const url = new URL(database.url('postgres'))
      url.username = role ?? ''
      url.password = 'test'
      const client = new pg.Client({ connectionString: url.href })
      await client.connect()
      for (const text of [
        'select * from public.agent_runs',
        'select * from private.runs',
        `select public.${other}('{}')`,
        `set role agent_engine`,
      ])
        await expect(client.query(text), `${role}: ${text}`).rejects.toMatchObject({ code: '42501' })
      const { rows } = await client.query<{ statement_timeout: string }>('show statement_timeout')
      expect(rows[0]?.statement_timeout).toBe(role === 'agent_api_test' ? '8s' : '15s')
      await client.end()
    }
  })

  it('without its password is a database that is not there', async () => {
    const url = new URL(database.url('postgres'))
    url.password = 'wrong'
    const store = createFrontStore({ url: url.href, timeoutMs: 5_000, applicationName: 'nobody' })
    await expect(store.ready()).rejects.toMatchObject({ code: 'unavailable' })
    await store.close()
  })
})

describe('errors', () => {
  it('are those that the functions raise for callers', async () => {
    const ids = { principal: principal(), run_id: randomUUID() }
    await expect(stores.front.cancelRun(ids)).rejects.toMatchObject({
      code: 'run_not_found',
      message: 'Run not found',
    })
    await expect(stores.front.createRun({ ...newRun(), opening_credits: 4 })).rejects.toMatchObject({
      code: 'insufficient_credits',
    })
  })

  it('of a function leave the connection in use', async () => {
    const before = await backends(stores.names.front)
    for (let n = 0; n < 20; n++)
      await stores.front.cancelRun({ principal: principal(), run_id: randomUUID() }).catch(() => {})
    expect(await backends(stores.names.front)).toEqual(before)
  })

  it('repairs text that Postgres refuses', async () => {
    const { run } = await stores.front.createRun({ ...newRun(), prompt: 'a\0b\ud800c' })
    expect(run.prompt).toBe('a\uFFFDb\uFFFDc')
  })

  it('a run that is locked for too long is to be tried again', async () => {
    const { run } = await stores.front.createRun(newRun())
    const holder = await owner.connect()
    await holder.query('begin')
    await holder.query('select from private.runs where run_id = $1 for update', [run.id])
    const url = new URL(database.url('postgres'))
    url.username = 'agent_step_test'
    url.password = 'test'
    const hurried = connect({
      url: url.href,
      timeoutMs: 5_000,
      applicationName: 'hurried',
      statementTimeoutMs: 2_000,
      lockTimeoutMs: 100,
    })
    const claim = { run_id: run.id, step_number: 0, lease_seconds: 5 }
    await expect(hurried.call('agent_claim_step', claim)).rejects.toMatchObject({ code: 'unavailable' })
    await holder.query('rollback')
    holder.release()
    expect(await hurried.call('agent_claim_step', claim)).toHaveProperty('claim')
    await hurried.close()
  })
})

describe('connections', () => {
  it('are at most four, and unnamed statements only', async () => {
    await Promise.all(Array.from({ length: 30 }, () => stores.front.createRun(newRun())))
    expect((await backends(stores.names.front)).length).toBeLessThanOrEqual(4)
  })

  it('that die idle or in a call are replaced; the process lives on', async () => {
    for (let n = 0; n < 3; n++) {
      await Promise.all([stores.front.ready(), stores.front.ready()])
      await kill(stores.names.front)
      // the next call may meet a connection whose end has not been heard of yet
      await stores.front
        .ready()
        .catch((error: unknown) => expect(error).toMatchObject({ code: 'unavailable' }))
      await expect.poll(() => stores.front.ready().then(() => true)).toBe(true)
    }
    const { run } = await stores.front.createRun(newRun())
    const holder = await owner.connect()
    await holder.query('begin')
    await holder.query('select from private.runs where run_id = $1 for update', [run.id])
    const claim = stores.step.claimStep({ run_id: run.id, step_number: 0, lease_seconds: 5 })
    const refused = expect(claim).rejects.toMatchObject({ code: 'unavailable' })
    await expect.poll(() => waiting(stores.names.step)).toBe(1)
    await kill(stores.names.step)
    await refused
    await holder.query('rollback')
    holder.release()
    expect(await stores.step.claimStep({ run_id: run.id, step_number: 0, lease_seconds: 5 })).toHaveProperty(
      'claim',
    )
  })

  it('cut while the commit is on its way back: unavailable, not known whether it happened; a repeat finds it', async () => {
    const proxy = await swallowingProxy(Number(new URL(database.url('postgres')).port))
    const cut = await postgresStores(database, {
      change: (url) => url.replace(/:\d+\//, `:${proxy.port}/`),
    })
    const who = principal()
    const idempotency = { key: 'once', body_sha256: 'a'.repeat(64) }
    await cut.front.ready()
    const before = await runs()
    proxy.swallowNext()
    await expect(cut.front.createRun({ ...newRun(who), idempotency })).rejects.toMatchObject({
      code: 'unavailable',
    })
    expect(await runs()).toBe(before + 1)
    expect(await cut.front.createRun({ ...newRun(who), idempotency })).toMatchObject({ replayed: true })
    expect(await runs()).toBe(before + 1)
    await cut.close()
    await proxy.close()
  })

  it('to a database that is away are refused in a bounded time', async () => {
    const store = createFrontStore({
      url: 'postgres://nobody:x@127.0.0.1:1/none',
      timeoutMs: 1_000,
      applicationName: 'away',
    })
    await expect(store.ready()).rejects.toMatchObject({ code: 'unavailable', retryAfterSeconds: 2 })
    await store.close()
  })
})

async function backends(name: string): Promise<number[]> {
  const { rows } = await owner.query<{ pid: number }>(
    'select pid from pg_stat_activity where application_name = $1 order by pid',
    [name],
  )
  return rows.map(({ pid }) => pid)
}
async function waiting(name: string): Promise<number> {
  const { rowCount } = await owner.query(
    `select from pg_stat_activity where application_name = $1 and wait_event_type = 'Lock'`,
    [name],
  )
  return rowCount ?? 0
}
async function kill(name: string): Promise<void> {
  const admin = new pg.Client({ connectionString: database.url('supabase_admin') })
  await admin.connect()
  await admin.query('select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1', [
    name,
  ])
  await admin.end()
}

/** Passes bytes on; after `swallowNext` the next call reaches the server, and its connection is cut when the answer comes. */
async function swallowingProxy(targetPort: number) {
  const sockets = new Set<Socket>()
  let armed = false
  const server = createServer((near) => {
    const far = connectSocket(targetPort, '127.0.0.1')
    let sent = false
    for (const socket of [near, far]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => sockets.delete(socket))
    }
    near.on('data', (bytes) => {
      sent = armed
      far.write(bytes)
    })
    far.on('data', (bytes) => {
      if (!sent) near.write(bytes)
      else {
        armed = false
        near.destroy()
        far.destroy()
      }
    })
    near.on('close', () => far.destroy())
    far.on('close', () => near.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  return {
    port: address !== null && typeof address === 'object' ? address.port : 0,
    swallowNext() {
      armed = true
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
