import assert from 'node:assert/strict'
import { createClient, type SupabaseClient } from '@supabase/supabase-js'
import { LOG_TYPES, RUN_MODES, RUN_STATUSES, STEP_STATUSES, TOOL_TYPES } from '../../../shared/core/run.ts'
import { cancelledRun, idleRun, type Loose, status } from '../call.ts'
import type { Case, Member, World } from '../installation.ts'
import { demoRun } from '../runs.ts'

/** What front ends read of each table, by the names of the earlier design. */
const COLUMNS = {
  agent_runs:
    'id, user_id, tenant_id, project_id, prompt, mode, config, status, plan, plan_version, current_phase, current_step_id, total_steps, completed_steps, failed_steps, total_tokens_used, total_credits_used, estimated_credits, created_at, started_at, completed_at, timeout_at, error_message, error_code, retry_count, max_retries, metadata, tags, deleted_at',
  agent_steps:
    'id, run_id, parent_step_id, step_number, phase_number, tool_type, tool_name, tool_input, status, tool_output, output_text, tokens_used, credits_used, created_at, started_at, completed_at, duration_ms, error_message, error_code, retry_count, idempotency_key, metadata',
  agent_messages:
    'id, run_id, step_id, role, content, tool_call_id, tool_name, attachments, metadata, created_at',
  agent_artifacts:
    'id, run_id, step_id, user_id, filename, file_path, file_type, file_size, content_hash, storage_bucket, storage_key, public_url, signed_url, signed_url_expires_at, metadata, created_at, expires_at, deleted_at',
  agent_run_connectors: 'run_id, connector_id, created_at',
  agent_task_logs: 'id, run_id, log_type, message, metadata, created_at, seq',
} as const
const TABLES = Object.keys(COLUMNS) as (keyof typeof COLUMNS)[]

function data({ supabaseUrl, anonKey }: World, member: Member): SupabaseClient {
  return createClient(supabaseUrl, anonKey, { accessToken: async () => member.token })
}

async function rows(query: PromiseLike<{ data: Loose; error: Loose }>): Promise<Loose> {
  const { data: found, error } = await query
  assert.equal(error, null, JSON.stringify(error))
  return found
}

export const tableCases: Case[] = [
  {
    name: 'tables: each of the six has the columns that front ends read',
    needs: ['api'],
    async run(world) {
      const mine = data(world, world.alice)
      for (const table of TABLES) await rows(mine.from(table).select(COLUMNS[table]).limit(1))
    },
  },
  {
    name: 'tables: a run with its steps, messages, files, log and connectors embedded, as the functions tell it',
    needs: ['api', 'runs'],
    async run(world) {
      const run_id = await demoRun(world)
      const mine = data(world, world.alice)
      const run = await rows(
        mine
          .from('agent_runs')
          .select(
            '*, agent_steps(*), agent_messages(*), agent_artifacts(*), agent_task_logs(*), agent_run_connectors(*)',
          )
          .eq('id', run_id)
          .single(),
      )
      const told = (await status(world, { run_id, steps_limit: 500, messages_limit: 500, logs_limit: 500 }))
        .body
      const ids = (list: Loose) => new Set(list.map(({ id }: Loose) => id))
      for (const part of ['steps', 'messages', 'artifacts'] as const)
        assert.deepEqual(ids(run[`agent_${part}`]), ids(told[part]), part)
      assert.deepEqual(ids(run.agent_task_logs), ids(told.logs))
      for (const name of [
        'prompt',
        'status',
        'mode',
        'plan',
        'total_steps',
        'completed_steps',
        'failed_steps',
        'total_credits_used',
        'created_at',
        'completed_at',
        'metadata',
      ])
        assert.deepEqual(run[name], told.run[name], name)
      const step = run.agent_steps.find((one: Loose) => one.tool_name === 'code')
      const same = told.steps.find(({ id }: Loose) => id === step.id)
      for (const [name, value] of Object.entries(same)) assert.deepEqual(step[name], value, name)
    },
  },
  {
    name: 'tables: filters, order, pages and counts by the enums, and a step with its run',
    needs: ['api', 'runs'],
    async run(world) {
      const run_id = await demoRun(world)
      const mine = data(world, world.alice)
      const steps = await rows(
        mine
          .from('agent_steps')
          .select('step_number, status, agent_runs(status)')
          .eq('run_id', run_id)
          .order('step_number')
          .range(0, 2),
      )
      assert.deepEqual(
        steps.map((step: Loose) => [step.step_number, step.agent_runs.status]),
        [0, 1, 2].map((n) => [n, 'completed']),
      )
      const { count } = await mine
        .from('agent_steps')
        .select('*', { count: 'exact', head: true })
        .eq('run_id', run_id)
        .in('status', ['completed', 'failed'])
      const { run } = (await status(world, { run_id })).body
      assert.equal(count, run.completed_steps + run.failed_steps)
      const enums: [keyof typeof COLUMNS, string, readonly string[]][] = [
        ['agent_runs', 'status', RUN_STATUSES],
        ['agent_runs', 'mode', RUN_MODES],
        ['agent_steps', 'status', STEP_STATUSES],
        ['agent_steps', 'tool_type', TOOL_TYPES],
        ['agent_task_logs', 'log_type', LOG_TYPES],
      ]
      for (const [table, column, words] of enums) {
        await rows(
          mine
            .from(table)
            .select(column)
            .in(column, [...words])
            .limit(1),
        )
        const { error } = await mine.from(table).select(column).eq(column, 'no such word').limit(1)
        assert.equal(error?.code, '22P02', `${table}.${column}`)
      }
    },
  },
  {
    name: 'tables: connectors of a run, and the own balance and no other',
    needs: ['api'],
    async run(world) {
      const run_id = await idleRun(world, { connector_ids: ['github', 'slack'] })
      const mine = data(world, world.alice)
      const connectors = await rows(
        mine.from('agent_run_connectors').select('connector_id').eq('run_id', run_id).order('connector_id'),
      )
      assert.deepEqual(connectors, [{ connector_id: 'github' }, { connector_id: 'slack' }])
      const balances = await rows(
        mine.from('credit_balances').select('user_id, available_credits, total_credits, used_credits'),
      )
      assert.deepEqual(
        balances.map((row: Loose) => row.user_id),
        [world.alice.id],
      )
      const [{ available_credits, total_credits, used_credits }] = balances
      assert.ok(available_credits >= 0 && available_credits + used_credits <= total_credits)
    },
  },
  {
    name: 'tables: nothing foreign shows, nothing can be written, anon sees nothing at all',
    needs: ['api'],
    async run(world) {
      const run_id = await cancelledRun(world, { connector_ids: ['github'] })
      const theirs = data(world, world.bob)
      const nobody = createClient(world.supabaseUrl, world.anonKey)
      for (const table of TABLES) {
        const column = table === 'agent_runs' ? 'id' : 'run_id'
        assert.deepEqual(await rows(theirs.from(table).select('*').eq(column, run_id)), [], table)
        assert.notEqual((await nobody.from(table).select('*').limit(1)).error, null, table)
        const mine = data(world, world.alice).from(table)
        const row: Loose = { [column]: run_id }
        for (const { error } of [await mine.delete().eq(column, run_id), await mine.insert(row)])
          assert.equal(error?.code, '42501', table)
      }
      const { error } = await data(world, world.alice).from('agent_task_queue').select('*')
      assert.equal(error?.code, '42501')
    },
  },
  {
    name: 'tables: Realtime follows them by primary keys',
    needs: ['api', 'local'],
    async run(world) {
      const found = await world.hooks?.query(
        `select c.relname, c.relreplident, i.indkey is not null as keyed from pg_publication_tables p
         join pg_class c on c.relname = p.tablename and c.relnamespace = 'public'::regnamespace
         left join pg_index i on i.indrelid = c.oid and i.indisprimary where p.pubname = 'supabase_realtime' and p.schemaname = 'public'`,
      )
      const followed = new Map(found?.map((row) => [row.relname, row]))
      for (const table of TABLES) {
        const row = followed.get(table)
        assert.ok(row, `${table} is in the publication`)
        assert.equal(row.keyed, true, table)
        assert.ok(['d', 'f'].includes(String(row.relreplident)), table)
      }
      assert.equal(followed.has('agent_task_queue'), false)
    },
  },
]
