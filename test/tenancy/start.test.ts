import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { withRoleLock } from '../../dev/postgres/role-lock.ts'
import { makeServiceLogin } from '../../dev/postgres/service-login.ts'
import { type TestProject, testProject } from '../../dev/supabase/test-project.ts'
import { createFrontStore as directStore } from '../../shared/adapters/postgres/front-store.ts'
import { createFrontStore as restStore } from '../../shared/adapters/supabase/front-store.ts'
import { createStepStore } from '../../shared/adapters/supabase/step-store.ts'
import type { ConfigError } from '../../shared/core/config-error.ts'
import { principal } from '../engine/harness.ts'

/** Roles with harmless names, as a careless operator might make them; each can step around row security in another way. */
const WIDE = {
  wide_itself: 'nologin bypassrls inherit in role agent_api',
  wide_member: 'nologin nobypassrls inherit in role agent_api, service_role',
  wide_stranger: 'nologin bypassrls noinherit',
}

/** Of a direct connection; not given to authenticator, which would become as wide. */
const WIDE_LOGINS = {
  wide_login: 'bypassrls in role agent_api',
  wide_sideways: 'nobypassrls in role agent_api, agent_engine',
}

let project: TestProject
let loginUrl: (role: string) => string

beforeAll(async () => {
  project = await testProject('', { template: 'migrated' })
  await withRoleLock(project.database.url('supabase_admin'), async (client) => {
    for (const [name, attributes] of Object.entries(WIDE)) {
      const { rowCount } = await client.query('select from pg_roles where rolname = $1', [name])
      if (rowCount === 0) await client.query(`create role ${name} ${attributes}`)
      await client.query(`grant ${name} to authenticator`)
    }
    for (const [name, attributes] of Object.entries(WIDE_LOGINS)) {
      const { rowCount } = await client.query('select from pg_roles where rolname = $1', [name])
      if (rowCount === 0)
        await client.query(`create role ${name} login inherit ${attributes} password 'test'`)
    }
  })
  const fit = await makeServiceLogin(project.database.url('postgres'), {
    name: 'agent_api_test',
    role: 'agent_api',
    password: 'test',
  })
  loginUrl = (role) => {
    const url = new URL(fit)
    url.username = role
    return url.href
  }
})
afterAll(() => project.close())

const options = async (role: string) => ({
  url: project.origin,
  anonKey: project.anonKey,
  roleToken: await project.mintRoleToken({ role }),
  timeoutMs: 5000,
})
const readRun = {
  principal: principal(),
  run_id: '00000000-0000-4000-8000-000000000001',
  steps: null,
  messages: null,
  artifacts: null,
  logs: null,
}

describe('a store under a role that could step around row security', () => {
  it.each([
    ['wide_itself', 'The database role wide_itself can step around row security: '],
    [
      'wide_member',
      'The database role wide_member can step around row security as a member of service_role: ',
    ],
    ['wide_stranger', 'does not let the role of this function call agent_ready: '],
    ['service_role', 'does not let the role of this function call agent_ready: '],
    ['authenticated', 'does not let the role of this function call agent_ready: '],
  ])('%s: makes no call, and says why', async (role, words) => {
    const refusals: ConfigError[] = []
    const refuse = (error: ConfigError) => void refusals.push(error)
    const store = restStore({ ...(await options(role)), refuse })
    const before = await project.sql('select count(*) from private.principals')
    await expect(store.readRun(readRun)).rejects.toMatchObject({ code: 'unavailable' })
    expect(refusals[0]?.message).toContain(words)
    expect(refusals[0]?.message).toContain('agent_api, (step) agent_step or (door) agent_door')
    const step = createStepStore({ ...(await options(role)), refuse })
    await expect(step.sweepDue({ limit: 1 })).rejects.toMatchObject({ code: 'unavailable' })
    // what act_as would have written
    expect(await project.sql('select count(*) from private.principals')).toEqual(before)
  })

  it.each([
    ['wide_login', 'The database role wide_login can step around row security: '],
    ['wide_sideways', 'wide_sideways can step around row security as a member of agent_engine: '],
  ])('%s: over a connection of its own as well', async (role, words) => {
    const refusals: ConfigError[] = []
    const store = directStore({
      url: loginUrl(role),
      timeoutMs: 5000,
      applicationName: 'wide',
      refuse: (error) => void refusals.push(error),
    })
    await expect(store.readRun(readRun)).rejects.toMatchObject({ code: 'unavailable' })
    expect(refusals[0]?.message).toContain(words)
    await store.close()
  })

  it('a database that is away is asked again, and nobody is refused for it', async () => {
    let refused = 0
    const store = restStore({
      ...(await options('agent_api')),
      url: 'http://127.0.0.1:9',
      refuse: () => void refused++,
    })
    await expect(store.ready()).rejects.toMatchObject({ code: 'unavailable', retryAfterSeconds: 2 })
    expect(refused).toBe(0)
  })

  it('a fit role is asked about once, whatever comes at once', async () => {
    const calls: string[] = []
    const counted = await options('agent_api')
    const real = globalThis.fetch
    globalThis.fetch = (input, init) => {
      calls.push(String(input).split('/').at(-1) ?? '')
      return real(input, init)
    }
    try {
      const store = restStore(counted)
      await Promise.allSettled([store.ready(), store.readRun(readRun), store.readRun(readRun)])
      await store.readRun(readRun).catch(() => {})
    } finally {
      globalThis.fetch = real
    }
    expect(calls.filter((name) => name === 'agent_ready')).toHaveLength(1)
    expect(calls.filter((name) => name === 'agent_read_run')).toHaveLength(3)
  })
})

describe('a process under such a role ends with status 1 and says what to do', () => {
  const start = async (env: Record<string, string>) => {
    const entry = fileURLToPath(new URL('../../functions/status/index.ts', import.meta.url))
    const child = spawn(process.execPath, [entry], {
      env: {
        HOST: '127.0.0.1',
        PORT: '0',
        PUBLIC_BASE_URL: 'http://api.example.com',
        SUPABASE_URL: project.origin,
        SUPABASE_ANON_KEY: project.anonKey,
        UPSTASH_REDIS_REST_URL: 'http://127.0.0.1:9',
        UPSTASH_REDIS_REST_TOKEN: 'redis',
        TRUSTED_ISSUERS: JSON.stringify([{ issuer: project.issuer, user_id: 'sub' }]),
        ALLOWED_ORIGINS: '*',
        ...env,
      },
    })
    let stderr = ''
    child.stdout.resume()
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString()
    })
    const code = await new Promise<number | null>((resolve) => child.on('exit', resolve))
    return { code, stderr }
  }

  it('seen in the token itself', async () => {
    const { code, stderr } = await start({ SUPABASE_ROLE_TOKEN: project.serviceRoleKey })
    expect(code).toBe(1)
    expect(stderr).toContain('SUPABASE_ROLE_TOKEN is of the role service_role')
  })

  it('told by the database, through PostgREST', async () => {
    const { code, stderr } = await start({ SUPABASE_ROLE_TOKEN: (await options('wide_itself')).roleToken })
    expect(code).toBe(1)
    expect(stderr).toMatch(
      /^Settings are missing or wrong:\n {2}The database role wide_itself can step around row security: give/,
    )
  })

  it('told by the database, over a connection of its own', async () => {
    const { code, stderr } = await start({
      SUPABASE_ROLE_TOKEN: (await options('agent_api')).roleToken,
      STORE: 'postgres',
      DATABASE_URL: loginUrl('wide_login'),
    })
    expect(code).toBe(1)
    expect(stderr).toContain('The database role wide_login can step around row security')
  })
})

describe('a key that an operator has taken out of service', () => {
  it('is refused at once, its tickets with it; other keys and issuers go on', async () => {
    const store = restStore(await options('agent_api'))
    const who = { ...principal(), issuer: 'https://revoked.example/auth/v1', key_id: 'k1' }
    const list = (changes: Partial<typeof who>) =>
      store.listRuns({ principal: { ...who, ...changes }, limit: 1, before: null, status: null })
    await list({})
    const owner = new pg.Client({ connectionString: project.database.url('postgres') })
    await owner.connect()
    await owner.query(
      `insert into public.agent_runs (id, user_id) values ('00000000-0000-4000-8000-00000000000e', $1)`,
      [who.sub],
    )
    const ticket = { ticket_sha256: 'a'.repeat(64), run_id: '00000000-0000-4000-8000-00000000000e' }
    await store.issueTicket({
      principal: who,
      ...ticket,
      expires_at: new Date(Date.now() + 60_000).toISOString(),
    })
    await owner.query(`select private.revoke_key('https://revoked.example/auth/v1', 'k1', 'stolen')`)
    await owner.end()
    await expect(list({})).rejects.toMatchObject({ code: 'unauthorized', message: 'Unauthorized' })
    await expect(store.useTicket(ticket)).rejects.toMatchObject({ code: 'unauthorized' })
    await list({ key_id: 'k2' })
    await list({ issuer: 'https://other.example/auth/v1' })
  })
})
