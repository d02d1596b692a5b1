-- The seven tables callers know, credits, and the private tables of the engine.

create table if not exists public.agent_runs (id uuid primary key default gen_random_uuid());
create table if not exists public.agent_steps (id uuid primary key default gen_random_uuid());
create table if not exists public.agent_messages (id uuid primary key default gen_random_uuid());
create table if not exists public.agent_artifacts (id uuid primary key default gen_random_uuid());
create table if not exists public.agent_run_connectors (run_id uuid not null, connector_id text not null, primary key (run_id, connector_id));
create table if not exists public.agent_task_logs (id uuid primary key default gen_random_uuid());

-- `user_id` stands on every table that a user reads, so that a policy compares one indexed column and joins nothing.
do $$
declare
  c record;
begin
  for c in
    select * from (values
      ('agent_runs', 'user_id', 'uuid', null, false),
      ('agent_runs', 'tenant_id', 'uuid', null, false),
      ('agent_runs', 'project_id', 'uuid', null, false),
      ('agent_runs', 'prompt', 'text', '''''', true),
      ('agent_runs', 'mode', 'public.agent_run_mode', '''custom''', true),
      ('agent_runs', 'config', 'jsonb', '''{}''', true),
      ('agent_runs', 'status', 'public.agent_run_status', '''created''', true),
      ('agent_runs', 'plan', 'jsonb', null, false),
      ('agent_runs', 'plan_version', 'integer', '0', true),
      ('agent_runs', 'current_phase', 'integer', '0', true),
      ('agent_runs', 'current_step_id', 'uuid', null, false),
      ('agent_runs', 'total_steps', 'integer', '0', true),
      ('agent_runs', 'completed_steps', 'integer', '0', true),
      ('agent_runs', 'failed_steps', 'integer', '0', true),
      ('agent_runs', 'total_tokens_used', 'bigint', '0', true),
      ('agent_runs', 'total_credits_used', 'numeric(10,4)', '0', true),
      ('agent_runs', 'estimated_credits', 'numeric', null, false),
      ('agent_runs', 'created_at', 'timestamp with time zone', 'now()', true),
      ('agent_runs', 'started_at', 'timestamp with time zone', null, false),
      ('agent_runs', 'completed_at', 'timestamp with time zone', null, false),
      ('agent_runs', 'timeout_at', 'timestamp with time zone', null, false),
      ('agent_runs', 'error_message', 'text', null, false),
      ('agent_runs', 'error_code', 'text', null, false),
      ('agent_runs', 'retry_count', 'integer', '0', true),
      ('agent_runs', 'max_retries', 'integer', '0', true),
      ('agent_runs', 'metadata', 'jsonb', '''{}''', true),
      ('agent_runs', 'tags', 'text[]', '''{}''', true),
      ('agent_runs', 'deleted_at', 'timestamp with time zone', null, false),

      ('agent_steps', 'run_id', 'uuid', null, false),
      ('agent_steps', 'user_id', 'uuid', null, false),
      ('agent_steps', 'parent_step_id', 'uuid', null, false),
      ('agent_steps', 'step_number', 'integer', '0', true),
      ('agent_steps', 'phase_number', 'integer', '0', true),
      ('agent_steps', 'tool_type', 'public.agent_tool_type', '''plan''', true),
      ('agent_steps', 'tool_name', 'text', '''''', true),
      ('agent_steps', 'tool_input', 'jsonb', '''{}''', true),
      ('agent_steps', 'status', 'public.agent_step_status', '''pending''', true),
      ('agent_steps', 'tool_output', 'jsonb', null, false),
      ('agent_steps', 'output_text', 'text', null, false),
      ('agent_steps', 'tokens_used', 'integer', '0', true),
      ('agent_steps', 'credits_used', 'numeric', '0', true),
      ('agent_steps', 'created_at', 'timestamp with time zone', 'now()', true),
      ('agent_steps', 'started_at', 'timestamp with time zone', null, false),
      ('agent_steps', 'completed_at', 'timestamp with time zone', null, false),
      ('agent_steps', 'duration_ms', 'integer', null, false),
      ('agent_steps', 'error_message', 'text', null, false),
      ('agent_steps', 'error_code', 'text', null, false),
      ('agent_steps', 'retry_count', 'integer', '0', true),
      ('agent_steps', 'idempotency_key', 'text', null, false),
      ('agent_steps', 'metadata', 'jsonb', '''{}''', true),

      ('agent_messages', 'run_id', 'uuid', null, false),
      ('agent_messages', 'user_id', 'uuid', null, false),
      ('agent_messages', 'step_id', 'uuid', null, false),
      -- conversation order: by step, then by order of writing
      ('agent_messages', 'step_number', 'integer', '0', true),
      ('agent_messages', 'role', 'text', '''user''', true),
      ('agent_messages', 'content', 'text', '''''', true),
      ('agent_messages', 'tool_call_id', 'text', null, false),
      ('agent_messages', 'tool_name', 'text', null, false),
      ('agent_messages', 'attachments', 'jsonb', '''[]''', true),
      ('agent_messages', 'metadata', 'jsonb', '''{}''', true),
      ('agent_messages', 'created_at', 'timestamp with time zone', 'now()', true),

      ('agent_artifacts', 'run_id', 'uuid', null, false),
      ('agent_artifacts', 'step_id', 'uuid', null, false),
      ('agent_artifacts', 'user_id', 'uuid', null, false),
      ('agent_artifacts', 'filename', 'text', '''''', true),
      ('agent_artifacts', 'file_path', 'text', '''''', true),
      ('agent_artifacts', 'file_type', 'text', '''application/octet-stream''', true),
      ('agent_artifacts', 'file_size', 'bigint', '0', true),
      ('agent_artifacts', 'content_hash', 'text', '''''', true),
      ('agent_artifacts', 'storage_bucket', 'text', '''agent-outputs''', true),
      ('agent_artifacts', 'storage_key', 'text', '''''', true),
      ('agent_artifacts', 'public_url', 'text', null, false),
      ('agent_artifacts', 'signed_url', 'text', null, false),
      ('agent_artifacts', 'signed_url_expires_at', 'timestamp with time zone', null, false),
      ('agent_artifacts', 'metadata', 'jsonb', '''{}''', true),
      ('agent_artifacts', 'created_at', 'timestamp with time zone', 'now()', true),
      ('agent_artifacts', 'expires_at', 'timestamp with time zone', null, false),
      ('agent_artifacts', 'deleted_at', 'timestamp with time zone', null, false),

      ('agent_run_connectors', 'user_id', 'uuid', null, false),
      ('agent_run_connectors', 'created_at', 'timestamp with time zone', 'now()', true),

      ('agent_task_logs', 'run_id', 'uuid', null, false),
      ('agent_task_logs', 'user_id', 'uuid', null, false),
      ('agent_task_logs', 'seq', 'bigint', null, false),
      ('agent_task_logs', 'log_type', 'public.agent_log_type', '''info''', true),
      ('agent_task_logs', 'message', 'text', '''''', true),
      ('agent_task_logs', 'metadata', 'jsonb', '''{}''', true),
      ('agent_task_logs', 'created_at', 'timestamp with time zone', 'now()', true)
    ) as t (tab, col, typ, def, nn)
  loop
    perform private.adopt_column(c.tab, c.col, c.typ, c.def, c.nn);
  end loop;
end
$$;
drop function private.adopt_column(text, text, text, text, boolean);

-- Rows of the earlier design: owners on every table, dense log numbers, step numbers once a run, open runs ended.
update public.agent_steps s set user_id = r.user_id from public.agent_runs r where r.id = s.run_id and s.user_id is null;
update public.agent_messages m set user_id = r.user_id from public.agent_runs r where r.id = m.run_id and m.user_id is null;
update public.agent_artifacts a set user_id = r.user_id from public.agent_runs r where r.id = a.run_id and a.user_id is null;
update public.agent_run_connectors c set user_id = r.user_id from public.agent_runs r where r.id = c.run_id and c.user_id is null;
update public.agent_task_logs l set user_id = r.user_id from public.agent_runs r where r.id = l.run_id and l.user_id is null;
update public.agent_task_logs l set seq = n.seq
from (select id, row_number() over (partition by run_id order by created_at, id) as seq from public.agent_task_logs) n
where n.id = l.id and l.seq is distinct from n.seq;
update public.agent_steps s set step_number = n.number
from (select id, row_number() over (partition by run_id order by step_number, created_at, id) - 1 as number from public.agent_steps) n
where n.id = s.id and s.step_number is distinct from n.number;
update public.agent_steps set idempotency_key = coalesce(run_id::text, id::text) || ':' || step_number || ':' || id
where idempotency_key is null or idempotency_key in (select idempotency_key from public.agent_steps group by 1 having count(*) > 1);
update public.agent_steps set status = 'cancelled', completed_at = coalesce(completed_at, now())
where status in ('pending', 'running');
update public.agent_runs
set status = 'failed', error_code = 'migrated', completed_at = coalesce(completed_at, now()),
    error_message = 'This run was open when the service moved to its new engine. Start it again to continue.'
where status not in ('completed', 'failed', 'cancelled', 'timeout');
delete from public.agent_runs where user_id is null;
delete from public.agent_steps where run_id is null or user_id is null;
delete from public.agent_messages where run_id is null or user_id is null;
delete from public.agent_artifacts where run_id is null or user_id is null;
delete from public.agent_task_logs where run_id is null or user_id is null;
delete from public.agent_run_connectors where user_id is null;

alter table public.agent_runs alter column user_id set not null;
alter table public.agent_steps alter column run_id set not null, alter column user_id set not null,
  alter column idempotency_key set not null;
alter table public.agent_messages alter column run_id set not null, alter column user_id set not null,
  add column position bigint generated always as identity;
alter table public.agent_artifacts alter column run_id set not null, alter column user_id set not null;
alter table public.agent_run_connectors alter column user_id set not null;
alter table public.agent_task_logs alter column run_id set not null, alter column user_id set not null,
  alter column seq set not null;

-- Named alike whether the table is new or adopted; an old key of the same meaning is replaced.
do $$
declare
  v record;
begin
  for v in select c.conrelid::regclass::text as tab, c.conname from pg_catalog.pg_constraint c
           where c.contype in ('f', 'u') and c.conrelid in ('public.agent_runs'::regclass, 'public.agent_steps'::regclass,
             'public.agent_messages'::regclass, 'public.agent_artifacts'::regclass, 'public.agent_run_connectors'::regclass,
             'public.agent_task_logs'::regclass) loop
    execute format('alter table %s drop constraint %I', v.tab, v.conname);
  end loop;
end
$$;
alter table public.agent_steps
  add constraint agent_steps_run_id_fkey foreign key (run_id) references public.agent_runs (id) on delete cascade,
  add constraint agent_steps_run_step_key unique (run_id, step_number),
  add constraint agent_steps_idempotency_key_key unique (idempotency_key);
alter table public.agent_messages
  add constraint agent_messages_run_id_fkey foreign key (run_id) references public.agent_runs (id) on delete cascade,
  add constraint agent_messages_step_id_fkey foreign key (step_id) references public.agent_steps (id) on delete set null,
  add constraint agent_messages_role_check check (role in ('user', 'assistant', 'system', 'tool')) not valid;
alter table public.agent_artifacts
  add constraint agent_artifacts_run_id_fkey foreign key (run_id) references public.agent_runs (id) on delete cascade,
  add constraint agent_artifacts_step_id_fkey foreign key (step_id) references public.agent_steps (id) on delete set null;
alter table public.agent_run_connectors
  add constraint agent_run_connectors_run_id_fkey foreign key (run_id) references public.agent_runs (id) on delete cascade;
alter table public.agent_task_logs
  add constraint agent_task_logs_run_id_fkey foreign key (run_id) references public.agent_runs (id) on delete cascade,
  add constraint agent_task_logs_run_seq_key unique (run_id, seq);

create index agent_runs_user_created on public.agent_runs (user_id, created_at desc, id desc);
create index agent_steps_user on public.agent_steps (user_id, created_at);
create index agent_messages_user on public.agent_messages (user_id, created_at);
create index agent_messages_conversation on public.agent_messages (run_id, step_number, position);
create index agent_messages_step on public.agent_messages (step_id);
create index agent_artifacts_user on public.agent_artifacts (user_id, created_at);
create index agent_artifacts_run on public.agent_artifacts (run_id, created_at);
create index agent_artifacts_step on public.agent_artifacts (step_id);
create index agent_run_connectors_user on public.agent_run_connectors (user_id);
create index agent_task_logs_user on public.agent_task_logs (user_id, created_at);
create index agent_task_logs_run_created on public.agent_task_logs (run_id, created_at);

-- The outbox and schedule: one row for each step that is due, waiting, or in work. Written with the commit that made it due.
create table public.agent_task_queue (
  run_id uuid not null references public.agent_runs (id) on delete cascade,
  step_number integer not null,
  tenant_id uuid not null,
  epoch integer not null,
  -- raised by every deliberate republish: with (run, step, epoch) it makes the deduplication id
  publication integer not null default 0,
  due_at timestamptz not null,
  -- when the sweeper publishes it (again), unless it was claimed or moved by then; null while nothing is to be published
  publish_at timestamptz,
  primary key (run_id, step_number)
);
create index agent_task_queue_publish on public.agent_task_queue (publish_at) where publish_at is not null;

create table public.credit_balances (
  user_id uuid primary key,
  available_credits numeric(10,4) not null check (available_credits >= 0),
  total_credits numeric(10,4) not null check (total_credits >= 0),
  used_credits numeric(10,4) not null default 0 check (used_credits >= 0),
  updated_at timestamptz not null default now()
);

-- Every movement of credits. Amounts in 1/10,000 credit. A step's cost is reserved once and then charged or refunded, once.
create table private.credit_ledger (
  id bigint generated always as identity primary key,
  user_id uuid not null,
  run_id uuid,
  step_number integer,
  kind text not null check (kind in ('opening', 'reserve', 'charge', 'refund')),
  -- change of available_credits and of used_credits
  available bigint not null,
  used bigint not null default 0,
  created_at timestamptz not null default clock_timestamp(),
  check ((kind = 'opening') = (run_id is null))
);
create unique index credit_ledger_once on private.credit_ledger (run_id, step_number, kind) where run_id is not null;
create unique index credit_ledger_settled on private.credit_ledger (run_id, step_number) where kind in ('charge', 'refund');
create index credit_ledger_user on private.credit_ledger (user_id);

-- Who is who: (issuer, sub) of a verified token to our user id. An issuer is listed by its first verified caller.
create table private.issuers (
  issuer text primary key,
  user_id_from text not null check (user_id_from in ('sub', 'new'))
);
create table private.principals (
  issuer text not null,
  sub text not null,
  user_id uuid not null,
  tenant_id uuid not null,
  created_at timestamptz not null default now(),
  primary key (issuer, sub)
);
create index principals_user on private.principals (user_id);

-- The engine's side of a run: what nobody outside may see or touch.
create table private.runs (
  run_id uuid primary key references public.agent_runs (id) on delete cascade,
  user_id uuid not null,
  tenant_id uuid not null,
  epoch integer not null default 0,
  next_step integer not null default 0,
  log_seq bigint not null default 0,
  last_log_at timestamptz not null default '-infinity',
  messages integer not null default 0,
  files integer not null default 0,
  bytes bigint not null default 0,
  -- members of the running group of tool steps that have not committed
  group_open integer not null default 0,
  max_steps integer not null,
  timeout_seconds integer not null,
  -- status before a pause, and since when the run is held (paused or waiting for its user)
  paused_from public.agent_run_status,
  held_at timestamptz,
  -- every non-final run has one; null once it has ended
  deadline_at timestamptz
);
create index runs_deadline on private.runs (deadline_at) where deadline_at is not null;

create table private.steps (
  run_id uuid not null references private.runs (run_id) on delete cascade,
  step_number integer not null,
  step_id uuid not null,
  kind text not null check (kind in ('model', 'tool')),
  tool_call_id text,
  -- open: not committed · settling: the run ended while this attempt was in flight · done
  state text not null default 'open' check (state in ('open', 'settling', 'done')),
  attempt integer not null default 0,
  -- fencing: a write names the counter and the random token of its claim
  fence bigint not null default 0,
  token uuid,
  lease_until timestamptz,
  last_error text,
  cost bigint not null default 0 check (cost >= 0),
  primary key (run_id, step_number)
);
create index steps_settling on private.steps (lease_until) where state = 'settling';

-- What a parked step waits for: the end of a job, or its user.
create table private.waits (
  run_id uuid not null,
  step_number integer not null,
  kind text not null check (kind in ('job', 'user')),
  job_name text,
  token_sha256 text,
  confirmed_at timestamptz,
  deadline_at timestamptz not null,
  -- the first answer: a repeat of the same body gets it again
  body_sha256 text,
  answer jsonb,
  finished_at timestamptz,
  primary key (run_id, step_number),
  foreign key (run_id, step_number) references private.steps (run_id, step_number) on delete cascade
);

-- Jobs that outlived their run and are to be removed by the step service. Each is handed out twice, the second time ten seconds
-- after the first: a process that dies with the list in its hand has removed nothing, and a second removal finds nothing to do.
create table private.jobs_to_remove (
  job_name text primary key,
  requested_at timestamptz not null default now(),
  handed_out boolean not null default false
);

-- The workspace as versions: the current file has to_step null; a step's view is what stood at its number.
create table private.workspace_files (
  run_id uuid not null references private.runs (run_id) on delete cascade,
  path text not null,
  from_step integer not null,
  to_step integer,
  sha256 text not null check (sha256 ~ '^[0-9a-f]{64}$'),
  size bigint not null check (size >= 0),
  mode integer not null,
  primary key (run_id, path, from_step)
);
create unique index workspace_files_current on private.workspace_files (run_id, path) where to_step is null;
create index workspace_files_hash on private.workspace_files (run_id, sha256);

create table private.idempotency_keys (
  user_id uuid not null,
  key text not null,
  body_sha256 text not null,
  run_id uuid not null references public.agent_runs (id) on delete cascade,
  created_at timestamptz not null default clock_timestamp(),
  primary key (user_id, key)
);
create index idempotency_keys_created on private.idempotency_keys (created_at);
create index idempotency_keys_run on private.idempotency_keys (run_id);

create table private.stream_tickets (
  ticket_sha256 text primary key,
  run_id uuid not null references public.agent_runs (id) on delete cascade,
  issuer text not null,
  sub text not null,
  use_before timestamptz not null,
  expires_at timestamptz not null,
  connection integer not null default 0,
  delivered boolean not null default false
);
create index stream_tickets_expires on private.stream_tickets (expires_at);
create index stream_tickets_run on private.stream_tickets (run_id);

-- The operator's switch: a row stops new claims for everybody (tenant null, tool null), a tenant, or a tool.
create table private.switches (
  id bigint generated always as identity primary key,
  tenant_id uuid,
  tool_name text,
  reason text not null,
  created_at timestamptz not null default now()
);

-- Legal transitions of a run; the same table stands in shared/core/run.ts and a test compares the two.
create table private.run_transitions (
  from_status public.agent_run_status not null,
  to_status public.agent_run_status not null,
  primary key (from_status, to_status)
);
insert into private.run_transitions
select f::public.agent_run_status, t::public.agent_run_status
from (values
  ('created', '{queued,cancelled,timeout}'::text[]),
  ('queued', '{planning,paused,cancelled,failed,timeout}'),
  ('planning', '{executing,waiting_user,paused,failed,cancelled,timeout}'),
  ('executing', '{completed,failed,cancelled,timeout,waiting_user,paused}'),
  ('waiting_user', '{executing,planning,paused,failed,cancelled,timeout}'),
  ('paused', '{queued,planning,executing,waiting_user,failed,cancelled,timeout}')
) as x (f, ts), unnest(ts) as t;

create function private.check_run_transition() returns trigger language plpgsql set search_path = '' as $$
begin
  if not exists (select 1 from private.run_transitions where from_status = old.status and to_status = new.status) then
    raise exception 'run % cannot go from % to %', old.id, old.status, new.status using errcode = 'check_violation';
  end if;
  return new;
end
$$;
create trigger run_transition before update of status on public.agent_runs
  for each row when (old.status is distinct from new.status) execute function private.check_run_transition();
