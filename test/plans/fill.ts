/**
 * SQL that fills a migrated database with `rows` rows in each of the tables that grow with work: a tenth as many runs, ten rows each,
 * one run in twenty still open, a user for every fifty runs. Needs the superuser: triggers and foreign keys are off while it fills.
 */
export function fillSql(rows: number): string {
  const runs = Math.floor(rows / 10)
  const users = Math.max(1, Math.floor(runs / 50))
  const id = (kind: number, n: string) =>
    `('${String(kind).padStart(8, '0')}-0000-4000-8000-' || lpad(to_hex(${n}), 12, '0'))::uuid`
  const user = (run: string) => id(1, `(${run}) % ${users}`)
  const isOpen = (run: string) => `(${run}) % 20 = 0`
  return `
set session_replication_role = replica;
set synchronous_commit = off;
insert into private.issuers values ('https://filled.example/auth/v1', 'sub') on conflict do nothing;
insert into private.principals (issuer, sub, user_id, tenant_id)
select 'https://filled.example/auth/v1', u::text, u, u from (select ${id(1, 'n')} as u from generate_series(0, ${users - 1}) n) t;
insert into public.credit_balances (user_id, available_credits, total_credits)
select ${id(1, 'n')}, 100, 100 from generate_series(0, ${users - 1}) n;
insert into public.agent_runs (id, user_id, tenant_id, prompt, status, created_at, tags)
select ${id(2, 'r')}, ${user('r')}, ${user('r')}, 'filled', case when ${isOpen('r')} then 'executing' else 'completed' end::public.agent_run_status,
  now() - r * interval '1 second', case when r % 10 = 0 then array['filled'] else '{}' end from generate_series(0, ${runs - 1}) r;
insert into private.runs (run_id, user_id, tenant_id, next_step, log_seq, messages, files, max_steps, timeout_seconds, deadline_at)
select ${id(2, 'r')}, ${user('r')}, ${user('r')}, 10, 10, 10, 1, 200, 3600, case when ${isOpen('r')} then now() + interval '1 hour' end
from generate_series(0, ${runs - 1}) r;
insert into public.agent_steps (id, run_id, user_id, step_number, tool_name, status, idempotency_key)
select ${id(3, 'n')}, ${id(2, 'n / 10')}, ${user('n / 10')}, n % 10, 'shell', 'completed', (n / 10) || ':' || n % 10 from generate_series(0, ${rows - 1}) n;
insert into private.steps (run_id, step_number, step_id, kind, state)
select ${id(2, 'n / 10')}, n % 10, ${id(3, 'n')}, 'tool', case when ${isOpen('n / 10')} and n % 10 = 9 then 'open' else 'done' end
from generate_series(0, ${rows - 1}) n;
insert into public.agent_messages (run_id, user_id, step_number, role, content)
select ${id(2, 'n / 10')}, ${user('n / 10')}, n % 10, 'assistant', 'filled' from generate_series(0, ${rows - 1}) n;
insert into public.agent_task_logs (run_id, user_id, seq, message, created_at)
select ${id(2, 'n / 10')}, ${user('n / 10')}, n % 10 + 1, 'filled', now() - interval '1 day' + n * interval '1 millisecond' from generate_series(0, ${rows - 1}) n;
insert into private.credit_ledger (user_id, run_id, step_number, kind, available)
select ${user('n / 10')}, ${id(2, 'n / 10')}, n % 10, 'reserve', -10000 from generate_series(0, ${rows - 1}) n;
insert into private.workspace_files (run_id, path, from_step, sha256, size, mode)
select ${id(2, 'n / 10')}, 'f' || n % 10, 0, encode(sha256(int4send(n)), 'hex'), 1, 420 from generate_series(0, ${rows - 1}) n;
insert into public.agent_artifacts (run_id, user_id, filename, storage_key)
select ${id(2, 'n')}, ${user('n')}, 'f', 'k' || n from generate_series(0, ${runs - 1}) n;
insert into public.agent_run_connectors (run_id, connector_id, user_id) select ${id(2, 'n')}, 'github', ${user('n')} from generate_series(0, ${runs - 1}) n;
insert into public.agent_task_queue (run_id, step_number, tenant_id, epoch, due_at, publish_at)
select ${id(2, 'n')}, 9, ${user('n')}, 0, now() + interval '1 hour', now() + interval '1 hour' from generate_series(0, ${runs - 1}, 20) n;
insert into private.waits (run_id, step_number, kind, job_name, token_sha256, deadline_at, finished_at)
select ${id(2, 'n')}, 9, 'job', 'run-' || n, 'x', now(), now() from generate_series(0, ${runs - 1}) n;
insert into private.idempotency_keys (user_id, key, body_sha256, run_id)
select ${user('n')}, 'k' || n, 'x', ${id(2, 'n')} from generate_series(0, ${runs - 1}) n;
insert into private.stream_tickets (ticket_sha256, run_id, issuer, sub, use_before, expires_at)
select 't' || n, ${id(2, 'n')}, 'https://filled.example/auth/v1', ${user('n')}::text, now(), now() + interval '1 hour' from generate_series(0, ${runs - 1}) n;
insert into private.objects_to_remove (bucket, name, not_before)
select 'agent-workspaces', ${user('n')} || '/' || encode(sha256(int4send(-n)), 'hex'), now() + interval '1 hour' from generate_series(0, ${runs - 1}) n;
insert into storage.objects (bucket_id, name)
select 'agent-workspaces', ${user('n')} || '/' || encode(sha256(int4send(n)), 'hex') from generate_series(0, ${runs - 1}) n;
set session_replication_role = origin;
analyze;
`
}

/** A user of the filled database, and one of its runs. */
export const FILLED = {
  issuer: 'https://filled.example/auth/v1',
  sub: '00000001-0000-4000-8000-000000000000',
  runId: '00000002-0000-4000-8000-000000000000',
}
