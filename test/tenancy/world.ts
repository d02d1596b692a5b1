import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createClient, type SupabaseClient } from '@supabase/supabase-js'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { executeApp } from '../../functions/execute/routes.ts'
import { Connections } from '../../functions/logs/connections.ts'
import { logsApp } from '../../functions/logs/routes.ts'
import { statusApp } from '../../functions/status/routes.ts'
import { stepApp } from '../../functions/step/routes.ts'
import { createIdentity } from '../../shared/adapters/jose/identity.ts'
import { createSignatureVerifier } from '../../shared/adapters/qstash/signature.ts'
import { createArtifacts, createAttachments, createBlobs } from '../../shared/adapters/supabase/storage.ts'
import { testConfig } from '../../shared/config/test-config.ts'
import { hashOf } from '../../shared/engine/issue-ticket.ts'
import { jobName, sha256Hex } from '../../shared/engine/job-token.ts'
import type { App } from '../../shared/http/env.ts'
import type { Principal } from '../../shared/ports/identity.ts'
import { call, type Engine, engine, SECRET, script, silentLog } from '../engine/harness.ts'

export const API_URL = 'https://api.example.test'
export const SIGNING_KEYS = {
  current: 'sig_current_key_of_this_test_0001',
  next: 'sig_next_key_of_this_test_00000001',
}
export const SWEEP_SECRET = 'another secret of thirty-two characters'
export const LEGACY_SECRET = 'a legacy secret of forty characters or so'
export const ENDED_ISSUER = 'https://ended.example.test/auth/v1'
export const PARKED_STEP = 2
export const TAG = 'shared-tag'
/** Everybody has a file of the same bytes: whoever knows the hash of one still gets only the own copy. */
const FILE = 'secret of its owner'
export const FILE_SHA256 = sha256Hex(FILE)

/** Somebody with a run whose tool step waits for its job, a stream ticket, and files in every bucket. */
export interface Person {
  sub: string
  userId: string
  issuer: string
  token: string
  principal: Principal
  runId: string
  ticket: string
  jobToken: string
}

/** The four services over a real database and Storage, users of two issuers (one signs with keys of its own), everybody with a run. */
export async function doorWorld() {
  const e: Engine = await engine(script([[call('shell', { command: 'x' })]]))
  const { project } = e
  const other = await otherIssuer()
  const ours = {
    issuer: project.issuer,
    jwks_url: `${project.origin}/auth/v1/.well-known/jwks.json`,
    user_id: 'sub',
    project_url: project.origin,
    project_key: project.anonKey,
  }
  const settings = {
    PUBLIC_BASE_URL: API_URL,
    TRUSTED_ISSUERS: JSON.stringify([
      ours,
      { issuer: other.issuer, jwks_url: other.jwksUrl, user_id: 'new' },
      // tokens of before the other project went over to keys, and a project whose time is over
      { issuer: other.issuer, hs256_secret: LEGACY_SECRET, until: '2099-01-01', user_id: 'new' },
      { issuer: ENDED_ISSUER, hs256_secret: LEGACY_SECRET, until: '2026-01-01', user_id: 'new' },
    ]),
  }
  const step = testConfig('step', {
    ...settings,
    QSTASH_CURRENT_SIGNING_KEY: SIGNING_KEYS.current,
    QSTASH_NEXT_SIGNING_KEY: SIGNING_KEYS.next,
    ANTHROPIC_API_KEY: 'x',
    SANDBOX_URL: 'http://127.0.0.1:9',
    SANDBOX_TOKEN: 'x',
    AGENT_SECRET: SECRET,
    SWEEP_SECRET,
  })
  const asApi = {
    url: project.origin,
    anonKey: project.anonKey,
    roleToken: await project.mintRoleToken({ role: 'agent_api' }),
    timeoutMs: 10_000,
  }
  const identity = createIdentity(testConfig('status', settings).issuers)
  const ports = {
    log: silentLog,
    identity,
    store: e.front,
    cache: e.cache,
    scheduler: async () => e.scheduler,
    blobs: async () => createBlobs(asApi),
    artifacts: async () => createArtifacts(asApi),
    attachments: async () => createAttachments({ timeoutMs: 10_000 }),
  }
  const apps: Record<'execute' | 'status' | 'logs' | 'step', App> = {
    execute: executeApp(testConfig('execute', settings), ports),
    status: statusApp(testConfig('status', settings), ports),
    logs: logsApp(testConfig('logs', settings), { ...ports, connections: new Connections() }),
    step: stepApp(
      step,
      e.deps,
      createSignatureVerifier({ currentKey: SIGNING_KEYS.current, nextKey: SIGNING_KEYS.next }),
    ),
  }
  const service = createClient(project.origin, project.serviceRoleKey, { auth: { persistSession: false } })

  const settle = async (sub: string, token: string, issuer: string, how: 'sub' | 'new'): Promise<Person> => {
    const principal: Principal = { issuer, sub, tenant_id: null, user_id_from: how }
    const { run, publications } = await e.create(principal, {
      tags: [TAG],
      connector_ids: ['github'],
      idempotency: { key: 'k', body_sha256: 'a'.repeat(64) },
      files: [{ path: 'inputs/a.txt', sha256: FILE_SHA256, size: FILE.length, mode: 0o644 }],
    })
    await e.scheduler.publish(publications)
    await e.drain()
    const jobToken = e.jobs.get(jobName({ runId: run.id, stepNumber: PARKED_STEP }))?.token
    if (jobToken === undefined) throw new Error('the run does not wait for a job')
    const ticket = `ticket-of-${run.id}`
    await e.front.issueTicket({
      principal,
      run_id: run.id,
      ticket_sha256: hashOf(ticket),
      expires_at: new Date(Date.now() + 3_600_000).toISOString(),
    })
    await project.sql(
      `insert into public.agent_artifacts (run_id, user_id, filename, storage_key) values ($1, $2, 'a.txt', $3)`,
      [run.id, run.user_id, `${run.user_id}/a.txt`],
    )
    return { sub, userId: run.user_id, issuer, token, principal, runId: run.id, ticket, jobToken }
  }
  const [a, b] = await Promise.all([project.user('alice@example.com'), project.user('bob@example.com')])
  const alice = await settle(a.id, a.token, project.issuer, 'sub')
  const bob = await settle(b.id, b.token, project.issuer, 'sub')
  const twin = await settle(alice.sub, await other.sign(alice.sub), other.issuer, 'new')
  await fill(service, [alice, bob, twin])

  return {
    e,
    project,
    apps,
    other,
    service,
    people: { alice, bob, twin },
    /** A hash of every row in which an id of this person or run stands. */
    traces: async (person: Person): Promise<string> => {
      const tables = await project.sql<{ name: string }>(
        `select oid::regclass::text as name from pg_class where relkind = 'r' and relnamespace::regnamespace::text in ('public', 'private')
         and relname not in ('principals', 'issuers')`,
      )
      const one = ({ name }: { name: string }) =>
        `select '${name}' as t, to_jsonb(x)::text as r from ${name} x where to_jsonb(x)::text ~ $1`
      const [row] = await project.sql<{ md5: string }>(
        `select md5(string_agg(t || r, chr(10) order by t, r)) from (${tables.map(one).join(' union all ')}) all_rows`,
        [`${person.userId}|${person.runId}`],
      )
      return row?.md5 ?? ''
    },
    async close() {
      other.close()
      await e.close()
    },
  }
}
export type DoorWorld = Awaited<ReturnType<typeof doorWorld>>

/** The other project: the front end's own, in production. */
async function otherIssuer() {
  const { privateKey, publicKey } = await generateKeyPair('ES256')
  const jwk = { ...(await exportJWK(publicKey)), kid: 'other-1', alg: 'ES256' }
  const server: Server = createServer((_request, response) => {
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ keys: [jwk] }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const issuer = 'https://other.example.test/auth/v1'
  return {
    issuer,
    jwksUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    privateKey,
    publicJwk: jwk,
    sign: (sub: string, claims: Record<string, unknown> = {}) =>
      new SignJWT({ iss: issuer, sub, aud: 'authenticated', role: 'authenticated', ...claims })
        .setProtectedHeader({ alg: 'ES256', kid: 'other-1' })
        .setIssuedAt()
        .setExpirationTime('1h')
        .sign(privateKey),
    close: () => server.close(),
  }
}

async function fill(service: SupabaseClient, people: readonly Person[]): Promise<void> {
  for (const { userId, sub } of people) {
    const files: [string, string][] = [
      ['agent-inputs', `${sub}/a.txt`],
      ['agent-outputs', `${userId}/a.txt`],
      ['agent-workspaces', `${userId}/${FILE_SHA256}`],
    ]
    for (const [bucket, name] of files) {
      const { error } = await service.storage.from(bucket).upload(name, FILE, { upsert: true })
      if (error !== null) throw error
    }
  }
}
