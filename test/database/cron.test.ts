import { createHmac } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type TestDatabase, testDatabase } from '../../dev/postgres/test-database.ts'
import { isSweepSignature } from '../../functions/step/sweep-signature.ts'

/** pg_net and Vault as the function sees them; the extensions themselves are in no package registry. */
const HOSTED = `
create schema net; create schema vault;
create table net.calls (url text, body jsonb, headers jsonb, timeout_milliseconds integer);
create function net.http_post(url text, body jsonb, headers jsonb, timeout_milliseconds integer) returns bigint language sql as
  $$ insert into net.calls values (url, body, headers, timeout_milliseconds) returning 1 $$;
create table vault.decrypted_secrets (name text, decrypted_secret text);`

let database: TestDatabase
let client: pg.Client

beforeAll(async () => {
  database = await testDatabase()
  client = new pg.Client({ connectionString: database.url('postgres') })
  await client.connect()
  await client.query(HOSTED)
})
afterAll(async () => {
  await client.end()
  await database.drop()
})

const calls = async () => (await client.query('select * from net.calls')).rows

/** What is warned about while it calls. */
async function sweep(): Promise<(string | undefined)[]> {
  const warnings: (string | undefined)[] = []
  const note = ({ message }: { message: string | undefined }) => void warnings.push(message)
  client.on('notice', note)
  await client.query('select private.call_sweep()')
  client.off('notice', note)
  return warnings
}

it('calls nobody while nothing is due, and warns where the address or the secret is missing', async () => {
  expect(await sweep()).toEqual([])
  await client.query(`insert into private.jobs_to_remove values ('job')`)
  const missing = [expect.stringContaining('agent_sweep_url')]
  expect(await sweep()).toEqual(missing)
  for (const name of ['agent_sweep_url', 'agent_sweep_secret']) {
    await client.query(`insert into vault.decrypted_secrets values ($1, 'https://x')`, [name])
    expect(await sweep()).toEqual(missing)
    await client.query('delete from vault.decrypted_secrets')
  }
  expect(await calls()).toEqual([])
})

it('calls the step function with a signature that it takes', async () => {
  const secret = 'a sweep secret of thirty-two characters'
  await client.query(
    `insert into vault.decrypted_secrets values ('another', 'https://y'), ('agent_sweep_secret', $1), ('agent_sweep_url', 'https://x/agent/step/sweep')`,
    [secret],
  )
  await client.query(`insert into private.jobs_to_remove values ('due')`)
  await client.query('select private.call_sweep()')
  const [call] = await calls()
  const timestamp = call.headers['x-agent-timestamp']
  expect(call).toMatchObject({ url: 'https://x/agent/step/sweep', body: {} })
  expect(call.headers['x-agent-signature']).toBe(
    createHmac('sha256', secret).update(`${timestamp}.{}`).digest('hex'),
  )
  expect(
    isSweepSignature(
      secret,
      { timestamp, body: '{}', signature: call.headers['x-agent-signature'] },
      Date.now() / 1000,
    ),
  ).toBe(true)
})
