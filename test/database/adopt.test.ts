import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { migrate } from '../../dev/postgres/migrate.ts'
import { type TestDatabase, testDatabase } from '../../dev/postgres/test-database.ts'

const MIGRATIONS = fileURLToPath(new URL('../../supabase/migrations', import.meta.url))

/** The earlier design: same tables, other details, its triggers and policies, and rows. */
const OLD = `
create type public.agent_run_status as enum ('created', 'queued', 'planning', 'executing', 'waiting_user', 'paused', 'completed', 'failed', 'cancelled', 'timeout');
create type public.agent_step_status as enum ('pending', 'running', 'completed', 'failed');
create table public.agent_runs (
  id uuid primary key default gen_random_uuid(), user_id uuid not null references auth.users (id), prompt text not null,
  mode text not null default 'general' check (mode <> ''), status public.agent_run_status not null default 'created', plan jsonb,
  current_phase integer default 0, total_steps integer default 0, total_credits_used numeric default 0, created_at timestamptz default now(),
  old_notes text not null, metadata jsonb default '{}');
create table public.agent_steps (
  id uuid primary key default gen_random_uuid(), run_id uuid not null references public.agent_runs (id) on delete cascade, step_number integer not null,
  tool_type text not null, tool_input jsonb, status public.agent_step_status not null default 'pending', created_at timestamptz default now());
create table public.agent_messages (id uuid primary key default gen_random_uuid(), run_id uuid references public.agent_runs (id), role text, content text, created_at timestamptz default now());
create table public.agent_artifacts (id uuid primary key default gen_random_uuid(), run_id uuid references public.agent_runs (id), filename text, user_id uuid);
create table public.agent_run_connectors (run_id uuid references public.agent_runs (id), connector_id text, primary key (run_id, connector_id));
create table public.agent_task_logs (id uuid primary key default gen_random_uuid(), run_id uuid references public.agent_runs (id), log_type text, message text, created_at timestamptz default now());
create table public.agent_task_queue (id uuid primary key default gen_random_uuid(), run_id uuid, payload jsonb);
create index on public.agent_runs (status) where status = 'queued';
alter table public.agent_runs enable row level security;
create policy "own runs" on public.agent_runs using (auth.uid() = user_id);
create function public.complete_run() returns trigger language plpgsql as $$ begin
  update public.agent_runs set status = 'completed' where id = new.run_id; return new; end $$;
create trigger complete_run after update on public.agent_steps for each row execute function public.complete_run();
insert into auth.users (id, email) values ('00000000-0000-4000-8000-000000000001', 'a@example.com');
insert into public.agent_runs (id, user_id, prompt, mode, status, old_notes) values
  ('10000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000001', 'open', 'general', 'executing', 'n'),
  ('10000000-0000-4000-8000-000000000002', '00000000-0000-4000-8000-000000000001', 'done', 'research', 'completed', 'n');
insert into public.agent_steps (run_id, step_number, tool_type, status, created_at) values
  ('10000000-0000-4000-8000-000000000001', 1, 'shell', 'running', '2026-01-01'), ('10000000-0000-4000-8000-000000000001', 1, 'magic', 'pending', '2026-01-02');
insert into public.agent_messages (run_id, role, content) values ('10000000-0000-4000-8000-000000000002', 'user', 'hello');
insert into public.agent_task_logs (run_id, log_type, message, created_at) values
  ('10000000-0000-4000-8000-000000000002', 'info', 'one', '2026-01-01'), ('10000000-0000-4000-8000-000000000002', 'debug', 'two', '2026-01-02');
insert into public.agent_task_queue (run_id, payload) values ('10000000-0000-4000-8000-000000000001', '{}');
`

let database: TestDatabase
let client: pg.Client

beforeAll(async () => {
  database = await testDatabase('project')
  client = new pg.Client({ connectionString: database.url('postgres') })
  await client.connect()
  await client.query(OLD)
  await migrate(database.url('postgres'), MIGRATIONS)
})
afterAll(async () => {
  await client.end()
  await database.drop()
})

it('the rows of the earlier design are kept, open runs are ended as migrated', async () => {
  const { rows } = await client.query(
    `select prompt, mode::text, status::text, error_code, old_notes from public.agent_runs order by prompt`,
  )
  expect(rows).toEqual([
    { prompt: 'done', mode: 'research', status: 'completed', error_code: null, old_notes: 'n' },
    { prompt: 'open', mode: 'custom', status: 'failed', error_code: 'migrated', old_notes: 'n' },
  ])
  const logs = await client.query(
    `select seq::int, log_type::text, message, user_id from public.agent_task_logs order by seq`,
  )
  expect(logs.rows.map(({ seq, log_type }) => [seq, log_type])).toEqual([
    [1, 'info'],
    [2, 'info'],
  ])
  const steps = await client.query(
    `select step_number, tool_type::text, status::text from public.agent_steps order by 1`,
  )
  expect(steps.rows).toEqual([
    { step_number: 0, tool_type: 'shell', status: 'cancelled' },
    { step_number: 1, tool_type: 'plan', status: 'cancelled' },
  ])
  expect((await client.query(`select * from private.agent_task_queue_before`)).rowCount).toBe(1)
})

it('old triggers, policies and foreign keys to auth.users are gone, new runs can be written', async () => {
  const left =
    await client.query(`select tgname from pg_trigger where tgname = 'complete_run' union all select polname from pg_policy where polname = 'own runs'
    union all select conname from pg_constraint where conrelid = 'public.agent_runs'::regclass and contype = 'f'`)
  expect(left.rows).toEqual([])
  await client.query(`insert into public.agent_runs (user_id, prompt) values (gen_random_uuid(), 'new')`)
  const published = await client.query(
    `select tablename from pg_publication_tables where pubname = 'supabase_realtime' order by 1`,
  )
  expect(published.rows.map(({ tablename }) => tablename)).toEqual([
    'agent_artifacts',
    'agent_messages',
    'agent_run_connectors',
    'agent_runs',
    'agent_steps',
    'agent_task_logs',
  ])
})
