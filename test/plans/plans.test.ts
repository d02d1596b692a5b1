import pg from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createRun } from '../../shared/engine/create-run.ts'
import { sha256Hex } from '../../shared/engine/job-token.ts'
import type { SqlCall } from '../../shared/ports/sql-call.ts'
import { frontStoreOver, stepStoreOver } from '../../shared/ports/store-functions.ts'
import { call, type Engine, engine, principal, say, script } from '../engine/harness.ts'
import { explainedSession, type Visit } from './explained-session.ts'
import { FILLED, fillSql } from './fill.ts'

/** With TEST_FULL a million rows in every table that grows with work. */
const FULL = process.env.TEST_FULL === '1'
const ROWS = FULL ? 1_000_000 : 40_000
/** A table of fewer rows is best read as it lies. With a million rows that goes for the queue, which holds open work only. */
const BIG_ROWS = FULL ? 20_000 : 1500
/** What one statement of the hot path may look at: more means an index that does not fit. Pages of 500 rows are the largest asked for. */
const MAX_ROWS = 1100

let e: Engine
let session: Awaited<ReturnType<typeof explainedSession>>

beforeAll(async () => {
  e = await engine(
    script([
      [call('file_write', { filepath: 'a.txt', content: 'a' }), call('shell', { command: 'x' })],
      [say('End.')],
    ]),
  )
  const superuser = e.project.database.url('supabase_admin')
  const filler = new pg.Client({ connectionString: superuser })
  await filler.connect()
  await filler.query(fillSql(ROWS))
  await filler.end()
  session = await explainedSession(superuser)
}, 600_000)
afterAll(async () => {
  await session.close()
  // what the tables were filled with is no work of the engine, which its invariants are about
  await e.project.close({ onPurpose: true })
})

const callAs =
  (role: string): SqlCall =>
  async <T>(name: string, argument: Record<string, unknown>) => {
    const rows = await session.as<{ answer: T }>(role, `select public.${name}($1::jsonb) as answer`, [
      JSON.stringify(argument),
    ])
    return (rows[0] as { answer: T }).answer
  }

const LIMITS = { max_steps: 50, timeout_seconds: 600 }

/** A run through everything that the services ask of the database, and every verb. */
async function life(): Promise<void> {
  const front = frontStoreOver(callAs('agent_api'))
  const who = principal()
  const step = stepStoreOver(callAs('agent_step'))
  e.deps.store = step
  const create = async (tags: string[] = []) => {
    const caller = { ...who, accessToken: '', expiresAt: 0, projectUrl: null, projectKey: null }
    const ports = {
      store: front,
      cache: e.cache,
      scheduler: async () => e.scheduler,
      blobs: async () => e.deps.blobs,
      attachments: async () => ({ read: () => Promise.reject(new Error('none')) }),
      attachmentLimits: { maxCount: 1, maxBytes: 1, maxTotalBytes: 1 },
      projects: [],
      log: e.deps.log,
    }
    const command = {
      action: 'create' as const,
      prompt: 'please',
      mode: 'chat' as const,
      project_id: null,
      connector_ids: ['github'],
      metadata: {},
      memory_context: null,
      tags,
      attachments: [],
      auto_start: true,
    }
    const idempotency = { key: `key-${Math.random()}`, body_sha256: 'a'.repeat(64) }
    return (await createRun(ports, caller, command, { limits: LIMITS, openingCredits: 1000, idempotency }))
      .run.id
  }
  const read = async (run_id: string) => {
    await front.readRun({
      principal: who,
      run_id,
      steps: { limit: 50, before: null },
      messages: { limit: 50 },
      artifacts: { limit: 50 },
      logs: { limit: 50 },
    })
    await front.readLogs({ principal: who, run_id, after_seq: 3, after_time: null, limit: 100 })
    await front.readLogs({
      principal: who,
      run_id,
      after_seq: null,
      after_time: '2020-01-01T00:00:00Z',
      limit: 100,
    })
    await front.readEvents({ principal: who, run_id, after_seq: 0, limit: 100 })
  }

  const first = await create(['t'])
  await e.drain()
  await read(first)
  await e.deps.store.sweepDue({ limit: 100 })
  const name = [...e.jobs.keys()].find((key) => key.includes(first))
  if (name === undefined) throw new Error('no job is out')
  const job = e.jobs.get(name)
  const ids = { run_id: first, step_number: job?.stepNumber ?? 0, token_sha256: sha256Hex(job?.token ?? '') }
  await e.deps.store.startJob(ids)
  await e.deps.store.checkJob({ ...ids, sha256: 'a'.repeat(64), storing: true })
  await e.finish(name)
  await e.drain()
  expect((await e.run(first)).status).toBe('completed')
  await e.deps.store.readFiles({ run_id: first, paths: null, under: null, limit: 10 })

  await front.issueTicket({
    principal: who,
    run_id: first,
    ticket_sha256: sha256Hex(first),
    expires_at: new Date(Date.now() + 60_000).toISOString(),
  })
  await front.useTicket({ ticket_sha256: sha256Hex(first), run_id: first })
  await front.closeTicket({ ticket_sha256: sha256Hex(first), run_id: first })
  await front.listRuns({ principal: who, limit: 50, before: null, status: null })
  await front.listRuns({
    principal: { ...FILLED, tenant_id: null, user_id_from: 'sub' },
    limit: 500,
    before: { created_at: new Date().toISOString(), id: FILLED.runId },
    status: 'completed',
  })

  const second = await create(['t'])
  await front.pauseRun({ principal: who, run_id: second })
  await front.resumeRun({ principal: who, run_id: second, user_input: 'more' })
  await front.startRun({ principal: who, run_id: second })
  await front.cancelRun({ principal: who, run_id: second })
  const options = { limits: LIMITS, opening_credits: 1000, idempotency: null }
  await front.retryRun({ principal: who, run_id: second, ...options })
  await front.forkRun({
    principal: who,
    run_id: first,
    from_step: 1,
    message: 'otherwise',
    limits: LIMITS,
    idempotency: null,
  })
  for (const verb of ['pause', 'resume', 'stop', 'retry'] as const)
    await front.bulkRuns({ principal: who, tag: 't', verb, ...options })
  await front.deleteRun({ principal: who, run_id: first })
  await e.deps.store.sweepDue({ limit: 100 })
  await step.objectsRemoved({ objects: [] })
}

/** What front ends ask with supabase-js, as a user with many rows. */
async function reads(): Promise<void> {
  const ask = (text: string, values: unknown[] = []) =>
    session.as('authenticated', text, values, { iss: FILLED.issuer, sub: FILLED.sub, role: 'authenticated' })
  const rows = await ask('select * from public.agent_runs order by created_at desc limit 20')
  expect(rows).toHaveLength(20)
  await ask('select * from public.agent_runs where id = $1', [FILLED.runId])
  await ask('select * from public.agent_steps where run_id = $1 order by step_number', [FILLED.runId])
  await ask('select * from public.agent_messages where run_id = $1 order by created_at', [FILLED.runId])
  await ask('select * from public.agent_artifacts where run_id = $1 order by created_at', [FILLED.runId])
  await ask('select * from public.agent_run_connectors where run_id = $1', [FILLED.runId])
  await ask('select * from public.agent_task_logs where run_id = $1 and seq > 3 order by seq limit 100', [
    FILLED.runId,
  ])
  await ask('select * from public.agent_task_logs where run_id = $1 order by created_at', [FILLED.runId])
  await ask('select * from public.credit_balances')
  for (const table of ['agent_steps', 'agent_messages', 'agent_artifacts', 'agent_task_logs'])
    await ask(`select * from public.${table} order by created_at desc limit 50`)
  for (const table of ['agent_runs', 'agent_run_connectors'])
    await ask(`select count(*) from public.${table}`)
  const blob = `${FILLED.sub}/${'a'.repeat(64)}`
  for (const role of ['agent_api', 'agent_step'])
    await session.as(
      role,
      `select * from storage.objects where bucket_id = 'agent-workspaces' and name = $1`,
      [blob],
    )
}

it(`reads no big table from end to end, with ${ROWS.toLocaleString('en')} rows in it`, async () => {
  await life()
  await reads()
  // as it is for a connection that has been used for a while: plans that hold for any value
  await session.client.query('set plan_cache_mode = force_generic_plan')
  await life()
  await reads()

  const sizes = await e.project.sql<{ name: string; rows: number }>(
    `select n.nspname || '.' || c.relname as name, c.reltuples::int as rows from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind = 'r' and n.nspname in ('public', 'private', 'storage')`,
  )
  const big = new Set(sizes.filter(({ rows }) => rows > BIG_ROWS).map(({ name }) => name))
  expect(big.size).toBeGreaterThan(10)
  // with few rows, reading a small table as it lies for a join may really be the best
  const isFault = ({ table, node, rows }: Visit) =>
    big.has(table) && (rows > MAX_ROWS || (node === 'Seq Scan' && (FULL || rows > 100)))
  const faults = session.visits.filter(isFault)
  expect([
    ...new Set(
      faults.map(({ statement, table, node, rows }) => `${node} of ${table} (${rows} rows): ${statement}`),
    ),
  ]).toEqual([])
  expect(new Set(session.visits.map(({ table }) => table)).size).toBeGreaterThan(15)
  console.log(
    `plans at ${ROWS} rows: ${session.statements()} statements, ${session.visits.length} visits of tables, none from end to end of ${big.size} big ones`,
  )
}, 300_000)
