-- The sweeper in production: one run that cannot be ended holds back nobody else's deadline, and the invariants are looked at all the time.

-- What the sweeper could not do for a run, until it can. Looked at again a minute later.
create table private.sweep_faults (
  run_id uuid not null references private.runs (run_id) on delete cascade,
  what text not null check (what in ('end', 'settle')),
  error text not null,
  first_at timestamptz not null default clock_timestamp(),
  last_at timestamptz not null default clock_timestamp(),
  times integer not null default 1,
  primary key (run_id, what)
);

-- What was found to break an invariant. A row stays until an operator has understood it and deletes it; while there is one, every sweep
-- says how many.
create table private.violations (
  id bigint generated always as identity primary key,
  invariant text not null,
  run_id uuid,
  detail text not null,
  found_at timestamptz not null default clock_timestamp(),
  reported_at timestamptz
);
create unique index violations_once on private.violations (invariant, run_id, detail) nulls not distinct;
create index violations_unreported on private.violations (id) where reported_at is null;

-- Runs that have ended and whose last state has not been looked at; and how far the round of those at work has come.
create table private.runs_to_check (
  run_id uuid primary key references public.agent_runs (id) on delete cascade,
  ended_at timestamptz not null default clock_timestamp()
);
create table private.check_round (
  one boolean primary key default true check (one),
  last_run uuid not null default '00000000-0000-0000-0000-000000000000'
);
insert into private.check_round default values;
grant select, insert, update, delete on private.sweep_faults, private.violations, private.runs_to_check, private.check_round to agent_engine;

create function private.to_check() returns trigger language plpgsql set search_path = '' as $$
begin
  insert into private.runs_to_check (run_id) values (new.id) on conflict do nothing;
  return null;
end
$$;
create trigger run_to_check after update of status on public.agent_runs
  for each row when (old.status is distinct from new.status and new.status in ('completed', 'failed', 'cancelled', 'timeout'))
  execute function private.to_check();

create function private.note_fault(p_run uuid, p_what text, p_error text) returns void language plpgsql set search_path = '' as $$
begin
  insert into private.sweep_faults (run_id, what, error) values (p_run, p_what, p_error)
  on conflict (run_id, what) do update set error = excluded.error, last_at = excluded.last_at, times = sweep_faults.times + 1;
  raise warning 'run % could not be %: %', p_run, case p_what when 'end' then 'ended' else 'settled' end, p_error;
end
$$;

-- The invariants of one run, by its indexes; supabase/invariants.sql asks for all runs. Columns: invariant, run_id, detail.
create function private.run_violations(p_run uuid) returns table (invariant text, run_id uuid, detail text)
language sql stable set search_path = '' as $$
  -- 1. A step has at most one result, one charge, one job.
  select 'one settlement a step' as invariant, p_run as run_id, 'step ' || step_number || ': ' || count(*) as detail
  from private.credit_ledger where run_id = p_run and kind in ('charge', 'refund') group by step_number having count(*) > 1
  union all
  select 'one result a step', p_run, 'step ' || s.step_number || ' is ' || v.status || ' but ' || s.state
  from private.steps s join public.agent_steps v on v.id = s.step_id
  where s.run_id = p_run and (s.state = 'done') <> (v.status in ('completed', 'failed', 'skipped', 'cancelled')) and s.state <> 'settling'
  union all
  -- 2. Step numbers are 0..n-1 without gaps, and a model step began after the group before it had ended.
  select 'step numbers without gaps', p_run, 'next ' || r.next_step || ', steps ' || c.steps || ', last ' || c.last
  from private.runs r, lateral (select count(*) as steps, coalesce(max(step_number), -1) as last from private.steps where run_id = p_run) c
  where r.run_id = p_run and (c.steps <> r.next_step or c.last <> r.next_step - 1)
  union all
  select 'groups in order', p_run, 'step ' || s.step_number || ' started before a step before it ended'
  from (
    select k.kind, v.step_number, v.started_at,
      max(coalesce(v.completed_at, 'infinity')) over (order by v.step_number rows between unbounded preceding and 1 preceding) as ended_at
    from public.agent_steps v join private.steps k on k.step_id = v.id and k.run_id = p_run where v.run_id = p_run) s
  where s.kind = 'model' and s.started_at is not null and s.ended_at > s.started_at
  union all
  select 'no call without its approval', p_run, 'step ' || a.step_number
  from private.approvals a join private.steps s using (run_id, step_number) where a.run_id = p_run and a.approved is not true and s.fence > 0
  union all
  -- 4. Every run that has not ended has a reason to wake.
  select 'a reason to wake', p_run, r.status::text
  from public.agent_runs r join private.runs e on e.run_id = r.id
  where r.id = p_run and r.status not in ('completed', 'failed', 'cancelled', 'timeout') and (e.deadline_at is null
    or (r.status in ('queued', 'planning', 'executing') and not exists (
      select 1 from public.agent_task_queue q where q.run_id = p_run and q.publish_at is not null)))
  union all
  select 'an ended run holds nothing', p_run, r.status::text
  from public.agent_runs r join private.runs e on e.run_id = r.id
  where r.id = p_run and r.status in ('completed', 'failed', 'cancelled', 'timeout') and (e.deadline_at is not null
    or exists (select 1 from public.agent_task_queue q where q.run_id = p_run)
    or exists (select 1 from private.waits w where w.run_id = p_run and w.finished_at is null)
    or exists (select 1 from private.steps s where s.run_id = p_run and s.state = 'open'))
  union all
  select 'an open step is on the queue', p_run, 'step ' || s.step_number
  from private.steps s where s.run_id = p_run and (s.state = 'open') <> exists (
    select 1 from public.agent_task_queue q where q.run_id = p_run and q.step_number = s.step_number)
  union all
  select 'the group counter is its open members', p_run, r.group_open || ' counted'
  from private.runs r where r.run_id = p_run and r.group_open <> (
    select count(*) from private.steps s where s.run_id = p_run and s.kind = 'tool' and s.state = 'open')
  union all
  select 'a call waits for another of its run', p_run, 'step ' || q.step_number
  from public.agent_task_queue q where q.run_id = p_run and q.waits = 'run' and not exists (
    select 1 from public.agent_task_queue o where o.run_id = p_run and (o.slot is not null or o.waits = 'tenant'))
  union all
  -- 5. No run is silent longer than the bound: lease, sweep and the longest republish (limits.ts) together are under 15 minutes.
  select 'no run is silent', p_run, 'step ' || q.step_number || ' due since ' || q.publish_at
  from public.agent_task_queue q where q.run_id = p_run and q.publish_at < now() - interval '15 minutes'
  union all
  -- 7. An ended run has reserved what it spent and got back.
  select 'a settled run owes nothing', p_run, 'open ' || l.open
  from public.agent_runs r join lateral (
    select coalesce(sum(-l.available - l.used), 0) as open from private.credit_ledger l where l.run_id = p_run) l on true
  where r.id = p_run and r.status in ('completed', 'failed', 'cancelled', 'timeout') and l.open <> 0
    and not exists (select 1 from private.steps s where s.run_id = p_run and s.state = 'settling')
  union all
  select 'credits of the run are its charges', p_run, r.total_credits_used::text
  from public.agent_runs r join private.runs e on e.run_id = r.id
  where r.id = p_run and r.total_credits_used * 10000 <> (select coalesce(sum(used), 0) from private.credit_ledger l where l.run_id = p_run)
  union all
  -- 8. Log numbers are dense and times rise strictly.
  select 'log numbers are dense', p_run, 'counter ' || r.log_seq || ', rows ' || c.rows
  from private.runs r, lateral (select count(*) as rows, coalesce(max(seq), 0) as last from public.agent_task_logs where run_id = p_run) c
  where r.run_id = p_run and (c.rows <> r.log_seq or c.last <> r.log_seq)
  union all
  select 'log times rise', p_run, 'seq ' || l.seq
  from (select seq, created_at, lead(created_at) over (order by seq) as next_at from public.agent_task_logs where run_id = p_run) l
  where l.next_at <= l.created_at and exists (select 1 from private.runs where run_id = p_run)
  union all
  -- 9. Everything of a run belongs to the owner of the run.
  select 'one owner a run', r.id, t.name
  from public.agent_runs r join lateral (
    select 'steps' as name from public.agent_steps where run_id = p_run and user_id <> r.user_id
    union all select 'messages' from public.agent_messages where run_id = p_run and user_id <> r.user_id
    union all select 'artifacts' from public.agent_artifacts where run_id = p_run and user_id <> r.user_id
    union all select 'logs' from public.agent_task_logs where run_id = p_run and user_id <> r.user_id) t on true
  where r.id = p_run
  union all
  select 'one current version a file', p_run, w.path
  from private.workspace_files w where w.run_id = p_run and w.to_step is null group by w.path having count(*) > 1
  union all
  select 'bytes in use are not being removed', p_run, w.path
  from private.runs r join private.workspace_files w on w.run_id = p_run
  join private.objects_to_remove o on o.bucket = 'agent-workspaces' and o.name = r.user_id || '/' || w.sha256
  where r.run_id = p_run and o.handed_at is not null
  union all
  select 'counters are what they count', p_run, r.total_steps || '/' || r.completed_steps || '/' || r.failed_steps
  from public.agent_runs r join private.runs e on e.run_id = r.id join lateral (
    select count(*) as total, count(*) filter (where s.status = 'completed') as completed, count(*) filter (where s.status = 'failed') as failed
    from public.agent_steps s where s.run_id = p_run) c on true
  where r.id = p_run and (r.total_steps, r.completed_steps, r.failed_steps) is distinct from (c.total, c.completed, c.failed)
$$;

-- The invariant of one user.
create function private.balance_violations(p_user uuid) returns table (invariant text, run_id uuid, detail text)
language sql stable set search_path = '' as $$
  -- 7. Ledger and balance agree, nothing is negative.
  select 'balance is the sum of the ledger', null::uuid, b.user_id::text
  from public.credit_balances b join lateral (
    select coalesce(sum(available), 0) as available, coalesce(sum(used), 0) as used from private.credit_ledger l where l.user_id = b.user_id) l on true
  where b.user_id = p_user and (b.available_credits * 10000 <> l.available or b.used_credits * 10000 <> l.used or b.available_credits < 0)
$$;

-- Looks at a few runs: those that have ended since, and the next ones of those at work, in turn. Bounded by the runs and their steps, so
-- that a sweep takes milliseconds; each run is seen at its end, and while it works every (runs at work / 20) sweeps.
create function private.check_runs() returns void language plpgsql set search_path = '' as $$
declare
  c_runs constant integer := 20;
  c_steps constant integer := 5000;
  v_last uuid;
  v_runs uuid[];
  v_users uuid[];
begin
  -- one sweep at a time
  select last_run into v_last from private.check_round for update skip locked;
  if not found then return; end if;
  select coalesce(array_agg(q.run_id order by q.run_id), '{}') into v_runs from (
    select distinct run_id from public.agent_task_queue where run_id > v_last order by run_id limit c_runs) q;
  update private.check_round set last_run = case when cardinality(v_runs) < c_runs then '00000000-0000-0000-0000-000000000000'
    else v_runs[cardinality(v_runs)] end;
  select coalesce(array_agg(c.run_id), '{}') || v_runs into v_runs from (
    select run_id from private.runs_to_check order by ended_at limit c_runs for update skip locked) c;
  -- a long run takes the time of many: the rest comes next time
  select array_agg(r.run_id), array_agg(r.user_id) into v_runs, v_users from (
    select e.run_id, e.user_id, sum(e.next_step) over (order by array_position(v_runs, e.run_id)) - e.next_step as before
    from private.runs e where e.run_id = any (v_runs)) r where r.before < c_steps;
  delete from private.runs_to_check where run_id = any (v_runs);
  -- one statement, so that the invariants are planned once
  insert into private.violations (invariant, run_id, detail)
  select v.invariant, v.run_id, left(v.detail, 500) from unnest(v_runs) t, private.run_violations(t) v on conflict do nothing;
  insert into private.violations (invariant, run_id, detail)
  select v.invariant, v.run_id, v.detail from (select distinct u from unnest(v_users) u limit 5) t, private.balance_violations(t.u) v
  on conflict do nothing;
end
$$;

-- Ends what is past its deadline, fairly across tenants, and settles attempts that were in flight when their run ended: each by itself.
create or replace function private.sweep(p jsonb) returns jsonb language plpgsql set search_path = '' as $$
declare
  v_run record;
  v_queue public.agent_task_queue;
  v_ended integer := 0;
  v_settled integer := 0;
  v_failed integer := 0;
  v_charged bigint;
begin
  for v_run in
    select e.run_id, r.status from private.runs e join public.agent_runs r on r.id = e.run_id
    where e.run_id in (
      select t.run_id from (
        select o.run_id, o.deadline_at, row_number() over (partition by o.tenant_id order by o.deadline_at) as turn
        from (select run_id, tenant_id, deadline_at from private.runs where deadline_at <= clock_timestamp() order by deadline_at limit 1000) o) t
      order by t.turn, t.deadline_at limit 200)
      and e.deadline_at <= clock_timestamp()
    order by e.deadline_at for update of e skip locked
  loop
    begin
      perform private.finish_run(v_run.run_id, 'timeout', 'RUN_TIMEOUT', case v_run.status
        when 'created' then 'The run was not started within 24 hours.'
        when 'waiting_user' then 'The run waited 30 days for an answer.'
        when 'paused' then 'The run was paused for 30 days.'
        else 'The run reached its time limit.' end, null);
      v_ended := v_ended + 1;
    exception when others then
      v_failed := v_failed + 1;
      update private.runs set deadline_at = clock_timestamp() + interval '1 minute' where run_id = v_run.run_id;
      perform private.note_fault(v_run.run_id, 'end', sqlstate || ' ' || sqlerrm);
    end;
  end loop;
  for v_run in
    select s.run_id, s.step_number, s.step_id from private.steps s join private.runs r using (run_id)
    where s.state = 'settling' and s.lease_until <= clock_timestamp() order by s.lease_until limit 200 for update of r skip locked
  loop
    begin
      v_charged := private.settle_step(v_run.run_id, v_run.step_number, true);
      update private.steps set state = 'done', token = null, lease_until = null where run_id = v_run.run_id and step_number = v_run.step_number;
      update public.agent_steps set credits_used = v_charged / 10000.0 where id = v_run.step_id;
      update public.agent_runs set total_credits_used = total_credits_used + v_charged / 10000.0 where id = v_run.run_id;
      v_settled := v_settled + 1;
    exception when others then
      v_failed := v_failed + 1;
      update private.steps set lease_until = clock_timestamp() + interval '1 minute'
      where run_id = v_run.run_id and step_number = v_run.step_number;
      perform private.note_fault(v_run.run_id, 'settle', sqlstate || ' ' || sqlerrm);
    end;
  end loop;
  delete from private.idempotency_keys where ctid in (
    select ctid from private.idempotency_keys where created_at < clock_timestamp() - interval '24 hours' limit 1000);
  delete from private.stream_tickets where ctid in (
    select ctid from private.stream_tickets where expires_at < clock_timestamp() limit 1000);
  -- what a pause holds keeps no place
  for v_queue in
    select * from public.agent_task_queue where slot is not null and publish_at is null limit 200 for update skip locked
  loop
    update public.agent_task_queue set slot = null, waits = null where run_id = v_queue.run_id and step_number = v_queue.step_number;
    perform private.pass_slot(v_queue.tenant_id, v_queue.slot, v_queue.run_id);
  end loop;
  perform private.check_runs();
  -- a violation wakes the step function too, which says so in its log
  return jsonb_build_object('ended', v_ended, 'settled', v_settled, 'failed', v_failed,
    'violations', (select count(*) from (select 1 from private.violations limit 1000) v), 'due',
    (select count(*) from (select 1 from private.violations where reported_at is null limit 1000) v) +
    (select count(*) from (select 1 from public.agent_task_queue where publish_at <= clock_timestamp() limit 1000) q)
    + (select count(*) from (select 1 from private.jobs_to_remove where requested_at <= clock_timestamp() limit 1000) j));
end
$$;

create or replace function private.sweep_due(p jsonb) returns jsonb language plpgsql set search_path = '' as $$
declare
  v_limit integer := (p ->> 'limit')::integer;
  v_publications jsonb;
  v_jobs jsonb;
  v_swept jsonb := public.agent_sweep('{}');
  v_violations jsonb;
begin
  with due as (
    select q.run_id, q.step_number, row_number() over (partition by q.tenant_id order by q.publish_at) as turn
    from (select * from public.agent_task_queue where publish_at <= clock_timestamp() order by publish_at limit 1000) q
  ), raised as (
    update public.agent_task_queue q
    set publication = q.publication + 1, due_at = least(q.due_at, clock_timestamp()),
        publish_at = clock_timestamp() + least(300, 20 * 2 ^ least(q.publication, 4)) * interval '1 second'
    where (q.run_id, q.step_number) in (
      select k.run_id, k.step_number from public.agent_task_queue k join due d using (run_id, step_number)
      order by d.turn, k.publish_at limit v_limit for update of k skip locked)
      and q.publish_at <= clock_timestamp()
    returning q.*
  )
  select coalesce(jsonb_agg(private.publication(r::public.agent_task_queue)), '[]') into v_publications from raised r;
  with due as (
    select job_name, handed_out from private.jobs_to_remove where requested_at <= clock_timestamp()
    order by requested_at limit v_limit for update skip locked
  ), again as (
    update private.jobs_to_remove set handed_out = true, requested_at = clock_timestamp() + interval '10 seconds'
    where job_name in (select job_name from due where not handed_out)
  ), forgotten as (
    delete from private.jobs_to_remove where job_name in (select job_name from due where handed_out)
  )
  select coalesce(jsonb_agg(job_name), '[]') into v_jobs from due;
  -- each is told once; the count goes on until an operator deletes the row
  with told as (
    update private.violations v set reported_at = clock_timestamp()
    where v.id in (select u.id from private.violations u where u.reported_at is null order by u.id limit 100 for update skip locked)
    returning v.*
  )
  select coalesce(jsonb_agg(jsonb_build_object('invariant', invariant, 'run_id', run_id, 'detail', detail)), '[]') into v_violations from told;
  return jsonb_build_object('publications', v_publications, 'jobs_to_remove', v_jobs, 'failed', v_swept -> 'failed',
    'violations', v_swept -> 'violations', 'new_violations', v_violations);
end
$$;

grant create on schema private to agent_engine;
do $$
declare
  v_name text;
begin
  foreach v_name in array array['to_check()', 'note_fault(uuid, text, text)', 'run_violations(uuid)', 'balance_violations(uuid)', 'check_runs()'] loop
    execute 'alter function private.' || v_name || ' owner to agent_engine';
    execute 'revoke all on function private.' || v_name || ' from public, anon, authenticated, service_role';
  end loop;
end
$$;
-- invariants.sql is run by the owner of the migrations
do $$ begin
  execute format('grant execute on function private.run_violations(uuid), private.balance_violations(uuid) to %I', current_user);
end $$;
revoke create on schema private from agent_engine;
