import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  artifactOf,
  carryOut,
  claim,
  newRun,
  runWithTools,
  sha,
  someone,
  toolCommit,
  toolStep,
} from '../../shared/ports/store-kit.suite.ts'
import { type DirectFixture, directFixture } from '../engine/direct-fixture.ts'

// What the tables refuse by themselves, whoever writes: each key, reference and check that the functions rely upon, on a copy of a row.

let f: DirectFixture
/** May switch triggers and references off, so that a copy of a row meets the one guard that it is meant for. */
let owner: pg.Client

beforeAll(async () => {
  f = await directFixture()
  owner = new pg.Client({ connectionString: f.database.url('supabase_admin') })
  owner.on('error', () => {})
  await owner.connect()
  const who = someone()
  const file = { path: 'a', sha256: sha('a'), size: 1, mode: 0o644 }
  const artifact = artifactOf('a.txt', 'k')
  const run = await runWithTools(f, who, [toolStep('a'), toolStep('b')], {
    files: [file],
    connector_ids: ['github'],
    idempotency: { key: 'k', body_sha256: sha('b') },
  })
  await carryOut(
    f,
    run,
    2,
    toolCommit({
      artifacts: [artifact],
      messages: [
        {
          id: null,
          role: 'assistant',
          content: 'x',
          tool_call_id: null,
          tool_name: null,
          is_error: false,
          blocks: null,
        },
      ],
    }),
  )
  const { step } = await claim(f, run, 3)
  await f.step.parkStep({
    ...step,
    job_name: `run-${run}-3`,
    token_sha256: sha('3'),
    deadline_seconds: 600,
    check_seconds: 600,
  })
  await f.front.issueTicket({
    principal: who,
    run_id: run,
    ticket_sha256: sha('t'),
    expires_at: '2099-01-01T00:00:00Z',
  })
  await f.front.createRun(newRun(who))
  await owner.query(`
    delete from public.agent_messages where step_id is null;
    insert into private.jobs_to_remove (job_name) values ('j');
    insert into private.objects_to_remove (bucket, name) values ('b', 'n');
    insert into private.switches (tool_name, reason) values ('none', 'test');
    insert into private.runs_to_check (run_id) values ('${run}');
    insert into private.violations (invariant, detail) values ('test', 'test');
    insert into private.sweep_faults (run_id, what, error) values ('${run}', 'end', 'test');
    insert into private.settings (name, value) values ('retention_days', '0');
    insert into private.revoked_keys (issuer, key_id, reason) values ('i', 'k', 'test');
    insert into private.approvals (run_id, step_number) values ('${run}', 2);
    update public.agent_task_queue set slot = 1 where run_id = '${run}'`)
})
afterAll(async () => {
  await owner.end()
  // copies of rows with one thing wrong are what is tested here
  await f.close({ onPurpose: true })
})

const FRESH: Record<string, () => unknown> = {
  uuid: randomUUID,
  text: randomUUID,
  int4: () => 1_000_000 + Math.floor(Math.random() * 1e9),
  int8: () => 1_000_000 + Math.floor(Math.random() * 1e9),
}

/**
 * Inserts a copy of a row whose unique columns are new, but for `same`, and with what `fields` say; undone afterwards. Answers the code and
 * the name of what refused it.
 */
async function copy(
  table: string,
  same: readonly string[],
  fields: Record<string, unknown> = {},
  { triggers = false, where = 'true' } = {},
): Promise<[unknown, unknown]> {
  const { rows: columns } = await owner.query<{
    name: string
    type: string
    is_key: boolean
    is_made: boolean
  }>(
    `select a.attname as name, t.typname as type, a.attgenerated <> '' as is_made, exists (
       select 1 from pg_index i where i.indrelid = a.attrelid and i.indisunique and a.attnum = any (i.indkey)) as is_key
     from pg_attribute a join pg_type t on t.oid = a.atttypid
     where a.attrelid = $1::regclass and a.attnum > 0 and not a.attisdropped`,
    [table],
  )
  const written: Record<string, unknown> = {}
  for (const { name, type, is_key } of columns)
    if (is_key && !same.includes(name)) written[name] = FRESH[type]?.()
  const names = columns.flatMap(({ name, is_made }) => (is_made ? [] : [`"${name}"`])).join(', ')
  await owner.query('begin')
  try {
    if (!triggers) await owner.query(`set local session_replication_role = 'replica'`)
    const { rowCount } = await owner.query(
      `insert into ${table} (${names}) overriding system value
       select ${names} from jsonb_populate_record(null::${table}, (select to_jsonb(t) from ${table} t where ${where} limit 1) || $1)`,
      [JSON.stringify({ ...written, ...fields })],
    )
    return [rowCount, 'nobody']
  } catch (error) {
    const { code, constraint } = error as pg.DatabaseError
    return [code, constraint]
  } finally {
    await owner.query('rollback')
  }
}

describe('a key', () => {
  const KEYS: [string, string, string[], Record<string, unknown>?][] = [
    ['agent_artifacts_pkey', 'public.agent_artifacts', ['id']],
    ['agent_messages_pkey', 'public.agent_messages', ['id']],
    ['agent_run_connectors_pkey', 'public.agent_run_connectors', ['run_id', 'connector_id']],
    ['agent_runs_pkey', 'public.agent_runs', ['id']],
    ['agent_steps_pkey', 'public.agent_steps', ['id']],
    ['agent_steps_idempotency_key_key', 'public.agent_steps', ['idempotency_key']],
    ['agent_steps_run_step_key', 'public.agent_steps', ['run_id', 'step_number']],
    ['agent_task_logs_pkey', 'public.agent_task_logs', ['id']],
    ['agent_task_logs_run_seq_key', 'public.agent_task_logs', ['run_id', 'seq']],
    ['agent_task_queue_pkey', 'public.agent_task_queue', ['run_id', 'step_number'], { slot: null }],
    ['agent_task_queue_slot', 'public.agent_task_queue', ['tenant_id', 'slot']],
    ['credit_balances_pkey', 'public.credit_balances', ['user_id']],
    ['approvals_pkey', 'private.approvals', ['id']],
    ['approvals_run_id_step_number_key', 'private.approvals', ['run_id', 'step_number']],
    ['credit_ledger_pkey', 'private.credit_ledger', ['id']],
    ['credit_ledger_step', 'private.credit_ledger', ['run_id', 'step_number']],
    ['idempotency_keys_pkey', 'private.idempotency_keys', ['user_id', 'key']],
    ['issuers_pkey', 'private.issuers', ['issuer']],
    ['jobs_to_remove_pkey', 'private.jobs_to_remove', ['job_name']],
    ['objects_to_remove_pkey', 'private.objects_to_remove', ['bucket', 'name']],
    ['principals_pkey', 'private.principals', ['issuer', 'sub']],
    ['revoked_keys_pkey', 'private.revoked_keys', ['issuer', 'key_id']],
    ['run_transitions_pkey', 'private.run_transitions', ['from_status', 'to_status']],
    ['runs_pkey', 'private.runs', ['run_id']],
    ['runs_to_check_pkey', 'private.runs_to_check', ['run_id']],
    ['violations_pkey', 'private.violations', ['id']],
    ['settings_pkey', 'private.settings', ['name']],
    ['steps_pkey', 'private.steps', ['run_id', 'step_number']],
    ['stream_tickets_pkey', 'private.stream_tickets', ['ticket_sha256']],
    ['switches_pkey', 'private.switches', ['id']],
    ['waits_pkey', 'private.waits', ['run_id', 'step_number']],
    ['workspace_files_pkey', 'private.workspace_files', ['run_id', 'path', 'from_step'], { to_step: 1 }],
    ['workspace_files_current', 'private.workspace_files', ['run_id', 'path']],
  ]
  it.each(KEYS)('%s', async (name, table, columns, fields) => {
    const where =
      table === 'private.credit_ledger'
        ? 'run_id is not null'
        : table === 'public.agent_task_queue'
          ? 'slot is not null'
          : 'true'
    expect(await copy(table, columns, fields, { where })).toEqual(['23505', name])
  })

  it('of the ledger: a step is reserved once, and charged or refunded once', async () => {
    const of = (kind: string, now: string) =>
      copy('private.credit_ledger', ['run_id', 'step_number'], { kind: now }, { where: `kind = '${kind}'` })
    expect(await of('charge', 'refund')).toEqual(['23505', 'credit_ledger_step'])
    expect(await of('reserve', 'reserve')).toEqual(['23505', 'credit_ledger_step'])
  })
})

it.each<[string, string, string[], Record<string, unknown>?]>([
  ['agent_artifacts_run_id_fkey', 'public.agent_artifacts', ['run_id']],
  ['agent_artifacts_step_id_fkey', 'public.agent_artifacts', ['step_id']],
  ['agent_messages_run_id_fkey', 'public.agent_messages', ['run_id']],
  ['agent_messages_step_id_fkey', 'public.agent_messages', ['step_id']],
  ['agent_run_connectors_run_id_fkey', 'public.agent_run_connectors', ['run_id']],
  ['agent_steps_run_id_fkey', 'public.agent_steps', ['run_id']],
  ['agent_task_logs_run_id_fkey', 'public.agent_task_logs', ['run_id']],
  ['agent_task_queue_run_id_fkey', 'public.agent_task_queue', ['run_id']],
  ['approvals_run_id_step_number_fkey', 'private.approvals', ['run_id']],
  ['runs_run_id_fkey', 'private.runs', ['run_id']],
  ['steps_run_id_fkey', 'private.steps', ['run_id']],
  ['sweep_faults_run_id_fkey', 'private.sweep_faults', ['run_id'], { what: 'end' }],
  ['stream_tickets_run_id_fkey', 'private.stream_tickets', ['run_id']],
  ['waits_run_id_step_number_fkey', 'private.waits', ['run_id']],
  ['workspace_files_run_id_fkey', 'private.workspace_files', ['run_id']],
])('nothing belongs to what is not there: %s', async (name, table, columns, fields) => {
  const missing = Object.fromEntries(columns.map((column) => [column, randomUUID()]))
  expect(await copy(table, [], { ...fields, ...missing }, { triggers: true })).toEqual(['23503', name])
})

it.each<[string, string, Record<string, unknown>]>([
  ['agent_messages_role_check', 'public.agent_messages', { role: 'developer' }],
  ['agent_task_queue_place', 'public.agent_task_queue', { waits: 'run', slot: 7 }],
  ['agent_task_queue_place', 'public.agent_task_queue', { waits: 'tenant', slot: 7 }],
  ['agent_task_queue_place', 'public.agent_task_queue', { waits: 'called', slot: null }],
  ['agent_task_queue_slot_check', 'public.agent_task_queue', { slot: 0 }],
  ['agent_task_queue_waits_check', 'public.agent_task_queue', { waits: 'else' }],
  ['credit_balances_available_credits_check', 'public.credit_balances', { available_credits: -0.0001 }],
  ['credit_balances_total_credits_check', 'public.credit_balances', { total_credits: -0.0001 }],
  ['credit_balances_used_credits_check', 'public.credit_balances', { used_credits: -0.0001 }],
  ['approvals_check', 'private.approvals', { approved: true, answered_at: null }],
  ['credit_ledger_check', 'private.credit_ledger', { kind: 'opening', run_id: randomUUID() }],
  ['credit_ledger_kind_check', 'private.credit_ledger', { kind: 'gift', run_id: randomUUID() }],
  ['issuers_user_id_from_check', 'private.issuers', { user_id_from: 'email' }],
  ['steps_cost_check', 'private.steps', { cost: -1 }],
  ['steps_kind_check', 'private.steps', { kind: 'else' }],
  ['steps_state_check', 'private.steps', { state: 'else' }],
  ['waits_kind_check', 'private.waits', { kind: 'else' }],
  ['workspace_files_sha256_check', 'private.workspace_files', { sha256: sha('g') }],
  ['workspace_files_size_check', 'private.workspace_files', { size: -1 }],
])('%s refuses %j', async (name, table, fields) => {
  // a row that is as it should be is taken
  const where = table === 'private.credit_ledger' ? 'run_id is not null' : 'true'
  expect((await copy(table, [], {}, { where })).at(1)).toBe('nobody')
  expect(await copy(table, [], fields, { where })).toEqual(['23514', name])
})

it('a fault of the sweeper is of one of the two things that it does', async () => {
  // of each there is one row a run
  expect((await copy('private.sweep_faults', ['run_id', 'what'])).at(1)).toBe('sweep_faults_pkey')
  expect(await copy('private.sweep_faults', ['run_id'], { what: 'else' })).toEqual([
    '23514',
    'sweep_faults_what_check',
  ])
})

it('the round of the sweeper is one', async () => {
  expect(await copy('private.check_round', ['one'])).toEqual(['23505', 'check_round_pkey'])
  expect(await copy('private.check_round', ['one'], { one: false })).toEqual([
    '23514',
    'check_round_one_check',
  ])
})

it('a setting has one of the names that are read', async () => {
  // of the one name there is one row
  expect((await copy('private.settings', ['name'])).at(1)).toBe('settings_pkey')
  expect(await copy('private.settings', [], { name: 'else' })).toEqual(['23514', 'settings_name_check'])
})

it('a deleted run leaves its ledger, and for a day the key that it was made with, and nothing else', async () => {
  const who = someone()
  const run = await runWithTools(f, who, [toolStep('a')], {
    connector_ids: ['github'],
    idempotency: { key: 'd', body_sha256: sha('b') },
  })
  const { step } = await claim(f, run, 2)
  await f.step.parkStep({
    ...step,
    job_name: `run-${run}-2`,
    token_sha256: sha('2'),
    deadline_seconds: 600,
    check_seconds: 600,
  })
  await f.front.issueTicket({
    principal: who,
    run_id: run,
    ticket_sha256: sha('u'),
    expires_at: '2099-01-01T00:00:00Z',
  })
  await f.front.cancelRun({ principal: who, run_id: run })
  await f.front.deleteRun({ principal: who, run_id: run })
  const tables = await f.sql(
    `select a.attrelid::regclass::text as name from pg_attribute a join pg_class c on c.oid = a.attrelid
     where c.relkind = 'r' and c.relnamespace in ('public'::regnamespace, 'private'::regnamespace) and a.attname = 'run_id'`,
  )
  const left = []
  for (const { name } of tables)
    if ((await f.sql(`select from ${name} where run_id = $1`, [run])).length > 0) left.push(name)
  expect(new Set(left)).toEqual(new Set(['private.credit_ledger', 'private.idempotency_keys']))
})
