-- Limits of parallel tool calls, and a marker that lets old and new code work on one run during a deploy. Code from before this file
-- goes on working: it passes neither `parallel` nor `protocol`, takes no place, and is asked for nothing that it does not know.

-- Every writer locks its run here first, so that from now on nobody is in the middle of a change that needs the other table.
lock table private.runs in access exclusive mode;

-- Which code can go on with a run: what wrote its newest rows says which version of reader they need (shared/core/protocol.ts).
alter table private.runs add column protocol integer not null default 1;

-- A call that runs as a job holds one of its tenant's numbered places from its claim until its row here is gone: also while it is
-- parked, and while a dead attempt waits for its next one. Who finds its run or its tenant at the limit waits in line.
alter table public.agent_task_queue
  add column slot integer check (slot > 0),
  -- run: until another call of its run ends · tenant: for a place of the tenant's, and counted as one of its run · called: was given one
  add column waits text check (waits in ('run', 'tenant', 'called')),
  add column waiting_since timestamptz,
  add constraint agent_task_queue_place check (case waits when 'called' then slot is not null when 'run' then slot is null when 'tenant' then slot is null else true end);
-- two claims at once cannot take one place
create unique index agent_task_queue_slot on public.agent_task_queue (tenant_id, slot) where slot is not null;
create index agent_task_queue_line on public.agent_task_queue (tenant_id, waiting_since) where waits is not null;

-- A place that became free goes straight to whoever has waited longest, so that nobody overtakes: first the next call of the run that
-- had it enters the tenant's line (behind those that stand there), then the line's first one gets the place. p_slot null: only the former.
-- Rows of other runs are taken only when nobody holds them, and last: this waits for nobody.
create function private.pass_slot(p_tenant uuid, p_slot integer, p_run uuid) returns void language plpgsql set search_path = '' as $$
begin
  update public.agent_task_queue set waits = 'tenant', waiting_since = clock_timestamp()
  where (run_id, step_number) = (
    select run_id, step_number from public.agent_task_queue where run_id = p_run and waits = 'run' order by step_number limit 1);
  if p_slot is null then return; end if;
  update public.agent_task_queue
  set slot = p_slot, waits = 'called', publication = publication + 1, due_at = clock_timestamp(), publish_at = clock_timestamp()
  where (run_id, step_number) = (
    select run_id, step_number from public.agent_task_queue
    where tenant_id = p_tenant and waits = 'tenant' and publish_at is not null
    order by waiting_since, run_id, step_number limit 1 for update skip locked);
end
$$;

create function private.slot_freed() returns trigger language plpgsql set search_path = '' as $$
begin
  perform private.pass_slot(old.tenant_id, old.slot, old.run_id);
  return null;
end
$$;
-- however a step ends, its row goes and its place is passed on
create trigger slot_freed after delete on public.agent_task_queue
  for each row when (old.slot is not null or old.waits = 'tenant') execute function private.slot_freed();

-- Publications of the tenant's calls that were given a place and that nobody has published yet. What a lost publish leaves behind is
-- published by the sweeper.
create function private.called_up(p_tenant uuid) returns jsonb language sql set search_path = '' as $$
  with called as (
    update public.agent_task_queue q set publish_at = clock_timestamp() + interval '20 seconds'
    where (q.run_id, q.step_number) in (
      select c.run_id, c.step_number from public.agent_task_queue c
      where c.tenant_id = p_tenant and c.waits = 'called' and c.publish_at <= clock_timestamp() limit 100 for update skip locked)
    returning q.*
  )
  select coalesce(jsonb_agg(private.publication(c::public.agent_task_queue) order by c.waiting_since), '[]') from called c
$$;

-- A step that is not worked on for now leaves its place or the line. Returns the publications of those that came up for it.
create function private.leave_slot(p_queue public.agent_task_queue) returns jsonb language plpgsql set search_path = '' as $$
begin
  if p_queue.slot is null and p_queue.waits is null then return '[]'; end if;
  update public.agent_task_queue set slot = null, waits = null where run_id = p_queue.run_id and step_number = p_queue.step_number;
  if p_queue.slot is null and p_queue.waits = 'run' then return '[]'; end if;
  perform private.pass_slot(p_queue.tenant_id, p_queue.slot, p_queue.run_id);
  return private.called_up(p_queue.tenant_id);
end
$$;

-- Takes a place for a call, or answers that it waits: null when it was taken. The caller holds the run's lock, which makes the run's
-- count exact; the tenant's is exact by its numbered places. p_parallel: {run, tenant, inline_tools}.
create function private.take_slot(p_queue public.agent_task_queue, p_parallel jsonb) returns jsonb language plpgsql set search_path = '' as $$
declare
  v_now timestamptz := clock_timestamp();
  v_since timestamptz := case when p_queue.waits = 'tenant' then p_queue.waiting_since end;
  v_slot integer;
  v_queue public.agent_task_queue;
begin
  if p_queue.waits is distinct from 'tenant' and (
    select count(*) from public.agent_task_queue where run_id = p_queue.run_id and (slot is not null or waits = 'tenant'))
    >= (p_parallel ->> 'run')::integer then
    -- whoever leaves takes it along; the sweeper only looks after it
    update public.agent_task_queue set waits = 'run', publish_at = v_now + interval '60 seconds'
    where run_id = p_queue.run_id and step_number = p_queue.step_number;
    return '{"refused": "busy", "publications": []}';
  end if;
  for v_slot in
    select n from generate_series(1, (p_parallel ->> 'tenant')::integer) n
    where not exists (select 1 from public.agent_task_queue q where q.tenant_id = p_queue.tenant_id and q.slot = n)
  loop
    -- The lock is never waited for: a place that somebody is just taking is left to them. Asked again with it, as they may have come and gone.
    if not pg_try_advisory_xact_lock(hashtextextended('slot ' || v_slot || ' of ' || p_queue.tenant_id, 0)) or exists (
      select 1 from public.agent_task_queue q where q.tenant_id = p_queue.tenant_id and q.slot = v_slot) then
      continue;
    end if;
    -- A place can be free while somebody waits (it became free just as they began to, or the limit was raised): they come first.
    if exists (select 1 from public.agent_task_queue q where q.tenant_id = p_queue.tenant_id and q.waits = 'tenant'
               and q.publish_at is not null and (v_since is null or q.waiting_since < v_since)) then
      perform private.pass_slot(p_queue.tenant_id, v_slot, null);
      continue;
    end if;
    update public.agent_task_queue set slot = v_slot, waits = null where run_id = p_queue.run_id and step_number = p_queue.step_number;
    return null;
  end loop;
  -- A place that becomes free while this is not yet committed is passed on without it: so it asks again, later each time.
  update public.agent_task_queue
  set waits = 'tenant', waiting_since = coalesce(v_since, v_now), publication = publication + 1,
      due_at = v_now + least(60, 2 * 2 ^ least(publication, 5)) * interval '1 second',
      publish_at = v_now + (least(60, 2 * 2 ^ least(publication, 5)) + 20) * interval '1 second'
  where run_id = p_queue.run_id and step_number = p_queue.step_number returning * into v_queue;
  return jsonb_build_object('refused', 'busy', 'publications', private.called_up(p_queue.tenant_id) || private.publication(v_queue));
end
$$;

-- The functions before, with places and versions in them. -------------------------------------------------------------------------

create or replace function private.claim(p jsonb) returns jsonb language plpgsql set search_path = '' as $$
declare
  v_now timestamptz;
  v_id uuid := (p ->> 'run_id')::uuid;
  v_number integer := (p ->> 'step_number')::integer;
  v_run private.runs;
  v_row public.agent_runs;
  v_step private.steps;
  v_queue public.agent_task_queue;
  v_wait private.waits;
  v_visible public.agent_steps;
  v_lease integer := (p ->> 'lease_seconds')::integer;
  v_logs jsonb := '[]';
  v_busy jsonb;
begin
  perform set_config('synchronous_commit', 'off', true);
  select * into v_run from private.runs where run_id = v_id for update;
  if not found then return '{"refused": "unknown", "publications": []}'; end if;
  v_now := clock_timestamp();
  select * into v_row from public.agent_runs where id = v_id;
  if v_row.status in ('completed', 'failed', 'cancelled', 'timeout') then
    with removed as (
      update private.jobs_to_remove j set handed_out = true, requested_at = v_now + interval '10 seconds'
      from private.waits w where w.run_id = v_id and j.job_name = w.job_name and not j.handed_out returning j.job_name
    )
    select coalesce(jsonb_agg(job_name), '[]') into v_logs from removed;
    return jsonb_build_object('refused', 'final', 'publications', '[]'::jsonb, 'jobs_to_remove', v_logs);
  end if;
  select * into v_step from private.steps where run_id = v_id and step_number = v_number;
  if not found then return '{"refused": "unknown", "publications": []}'; end if;
  if v_step.state <> 'open' then
    return jsonb_build_object('refused', 'done', 'publications', case when v_row.status = 'paused' then '[]' else private.unclaimed(v_id) end);
  end if;
  -- rows that only newer code understands wait for it, and no attempt is counted
  if v_run.protocol > coalesce((p ->> 'protocol')::integer, 1) then return '{"refused": "newer", "publications": []}'; end if;
  select * into v_wait from private.waits where run_id = v_id and step_number = v_number and finished_at is null;
  if v_row.status = 'paused' and v_wait.kind is distinct from 'job' then
    -- an attempt in work keeps its place on the schedule: a resume leaves it alone, and its process may be dead
    update public.agent_task_queue set publish_at = null where run_id = v_id and step_number = v_number and private.is_idle(v_id, v_number)
    returning * into v_queue;
    return jsonb_build_object('refused', 'paused', 'publications', case when v_queue.run_id is null then '[]' else private.leave_slot(v_queue) end);
  end if;
  select * into v_queue from public.agent_task_queue where run_id = v_id and step_number = v_number;
  -- a second of grace, so that a delivery by another clock is not sent away
  if v_queue.due_at > v_now + interval '1 second' then return '{"refused": "not_due", "publications": []}'; end if;
  if v_step.lease_until > v_now then
    return jsonb_build_object('refused', 'leased', 'retry_after_seconds', ceil(extract(epoch from v_step.lease_until - v_now))::integer, 'publications', '[]'::jsonb);
  end if;
  select * into v_visible from public.agent_steps where id = v_step.step_id;
  if exists (select 1 from private.switches w where (w.tenant_id is null or w.tenant_id = v_run.tenant_id)
             and (w.tool_name is null or w.tool_name = v_visible.tool_name)) then
    update public.agent_task_queue set publish_at = v_now + interval '60 seconds' where run_id = v_id and step_number = v_number;
    return jsonb_build_object('refused', 'switched_off', 'publications', private.leave_slot(v_queue));
  end if;

  -- Past its attempts the step fails in this transaction, with its last error. A check on a job is not an attempt.
  if v_step.attempt >= 5 and v_wait.kind is null then
    declare
      v_error text := 'The step did not finish in ' || v_step.attempt || ' attempts' || coalesce(': ' || v_step.last_error, '. Its last attempt was cut off.');
      v_answer jsonb;
    begin
      v_answer := private.apply_commit(v_id, v_number, jsonb_build_object('status', 'failed', 'output', null, 'output_text', null,
        'error_code', 'ATTEMPTS_EXHAUSTED', 'error_message', v_error, 'tokens_used', 0, 'artifacts', '[]'::jsonb, 'logs', '[]'::jsonb,
        'files', '{"put": [], "removed": []}'::jsonb, 'verified', '[]'::jsonb, 'plan', null, 'current_phase', null,
        'messages', case when v_step.kind = 'tool' then jsonb_build_array(jsonb_build_object('role', 'tool', 'content', v_error,
          'tool_call_id', v_step.tool_call_id, 'tool_name', v_visible.tool_name, 'is_error', true)) else '[]' end,
        'next', case when v_step.kind = 'tool' then jsonb_build_object('kind', 'group', 'model_step', p -> 'model_step')
          else jsonb_build_object('kind', 'fail', 'code', 'ATTEMPTS_EXHAUSTED', 'message', v_error) end));
      return jsonb_build_object('refused', 'done', 'publications', (v_answer -> 'publications')
        || case when v_queue.slot is null then '[]' else private.called_up(v_queue.tenant_id) end);
    end;
  end if;

  if v_step.kind = 'tool' and v_queue.slot is null and v_wait.kind is null then
    if jsonb_typeof(p -> 'parallel') is distinct from 'object' then
      -- code from before there were limits: it takes no place, and lets the next one into the line instead
      if v_queue.waits = 'tenant' then perform private.pass_slot(v_queue.tenant_id, null, v_id); end if;
    elsif not p -> 'parallel' -> 'inline_tools' ? v_visible.tool_name then
      v_busy := private.take_slot(v_queue, p -> 'parallel');
      if v_busy is not null then return v_busy; end if;
    end if;
  end if;

  update private.steps
  set attempt = attempt + (v_wait.kind is null)::integer, fence = fence + 1, token = gen_random_uuid(), lease_until = v_now + v_lease * interval '1 second'
  where run_id = v_id and step_number = v_number returning * into v_step;
  update public.agent_task_queue set publish_at = v_step.lease_until + interval '2 seconds', waits = null where run_id = v_id and step_number = v_number;
  if v_visible.status = 'pending' then
    update public.agent_steps set status = 'running', started_at = v_now where id = v_step.step_id;
    v_logs := jsonb_build_array(private.step_event(v_step.step_id, v_visible.tool_name, 'running'));
  end if;
  update public.agent_runs
  set current_step_id = v_step.step_id, started_at = coalesce(started_at, v_now),
      status = case when status = 'queued' then 'planning' else status end
  where id = v_id and (current_step_id is distinct from v_step.step_id or status = 'queued');
  if v_row.status = 'queued' then
    v_row.status := 'planning';
    v_logs := jsonb_build_array(private.run_event('planning', 0, 0)) || v_logs;
  end if;
  if jsonb_array_length(v_logs) > 0 then v_run.log_seq := private.add_logs(v_id, v_logs); end if;

  return jsonb_build_object('claim', jsonb_build_object(
    'log_seq', v_run.log_seq,
    'step', jsonb_build_object('run_id', v_id, 'step_number', v_number, 'step_id', v_step.step_id, 'epoch', v_run.epoch, 'fence', v_step.fence,
      'token', v_step.token, 'attempt', v_step.attempt, 'lease_seconds', v_lease, 'kind', v_step.kind, 'tool_type', v_visible.tool_type,
      'tool_name', v_visible.tool_name, 'tool_input', v_visible.tool_input, 'tool_call_id', v_step.tool_call_id,
      'phase_number', v_visible.phase_number, 'last_error', v_step.last_error,
      'job', case when v_wait.kind = 'job' then jsonb_build_object('name', v_wait.job_name, 'confirmed', v_wait.confirmed_at is not null,
        'deadline_at', v_wait.deadline_at, 'past_deadline', v_wait.deadline_at <= v_now) end),
    'run', jsonb_build_object('id', v_id, 'user_id', v_run.user_id, 'tenant_id', v_run.tenant_id, 'prompt', v_row.prompt, 'mode', v_row.mode,
      'status', v_row.status, 'plan', v_row.plan, 'current_phase', v_row.current_phase, 'next_step', v_run.next_step,
      'limits', v_row.config -> 'limits', 'memory_context', v_row.config ->> 'memory_context', 'created_at', v_row.created_at,
      'timeout_at', v_row.timeout_at),
    'conversation', case when v_step.kind = 'model' then private.conversation(v_id) else '[]' end,
    'messages', v_run.messages,
    'workspace', jsonb_build_object('files', v_run.files, 'bytes', v_run.bytes, 'complete', v_run.files <= 200, 'entries', (
      select coalesce(jsonb_agg(jsonb_build_object('path', f.path, 'sha256', f.sha256, 'size', f.size, 'mode', f.mode) order by f.path), '[]')
      from (select * from private.workspace_files where run_id = v_id and to_step is null order by path limit 200) f))));
end
$$;

create or replace function public.agent_commit_step(p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_step private.steps := private.fenced(p);
  v_answer jsonb;
  v_tenant uuid;
begin
  if v_step.run_id is null or v_step.state <> 'open' then return private.stale((p ->> 'run_id')::uuid); end if;
  if coalesce((p ->> 'protocol')::integer, 1) > 1 then
    update private.runs set protocol = (p ->> 'protocol')::integer where run_id = v_step.run_id and protocol < (p ->> 'protocol')::integer;
  end if;
  if v_step.kind = 'tool' then
    select tenant_id into v_tenant from public.agent_task_queue
    where run_id = v_step.run_id and step_number = v_step.step_number and slot is not null;
  end if;
  -- a check that ends a job's wait closes it, so that a late callback finds its answer taken
  update private.waits set finished_at = clock_timestamp() where run_id = v_step.run_id and step_number = v_step.step_number and finished_at is null;
  v_answer := private.apply_commit(v_step.run_id, v_step.step_number, p -> 'commit');
  if jsonb_typeof(p -> 'burst') = 'object' then
    v_answer := private.claim_next(v_step.run_id, v_answer, p -> 'burst');
  end if;
  if v_tenant is not null then
    v_answer := v_answer || jsonb_build_object('publications', (v_answer -> 'publications') || private.called_up(v_tenant));
  end if;
  return v_answer;
end
$$;

create or replace function public.agent_release_step(p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_step private.steps := private.fenced(p);
  v_due timestamptz := clock_timestamp() + (p ->> 'delay_seconds')::integer * interval '1 second';
  v_queue public.agent_task_queue;
  v_paused boolean;
  v_called jsonb;
begin
  if v_step.run_id is null or v_step.state <> 'open' then return private.stale((p ->> 'run_id')::uuid); end if;
  v_paused := exists (select 1 from public.agent_runs where id = v_step.run_id and status = 'paused');
  update private.steps set token = null, lease_until = null, last_error = left(p ->> 'error', 2000),
    attempt = attempt - (coalesce((p ->> 'free')::boolean, false) and attempt > 0)::integer
  where run_id = v_step.run_id and step_number = v_step.step_number;
  update public.agent_task_queue set due_at = v_due, publication = publication + 1,
    publish_at = case when not v_paused then v_due + interval '20 seconds' end
  where run_id = v_step.run_id and step_number = v_step.step_number returning * into v_queue;
  v_called := private.leave_slot(v_queue);
  return private.stale(v_step.run_id) || jsonb_build_object('committed', true, 'publications',
    case when v_paused then '[]' else jsonb_build_array(private.publication(v_queue)) end || v_called);
end
$$;

create or replace function private.awaited(p jsonb) returns private.waits language plpgsql set search_path = '' as $$
declare
  v_wait private.waits;
  v_protocol integer;
begin
  select protocol into v_protocol from private.runs where run_id = (p ->> 'run_id')::uuid for update;
  select * into v_wait from private.waits where run_id = (p ->> 'run_id')::uuid and step_number = (p ->> 'step_number')::integer and kind = 'job';
  if not found then
    -- Not parked (yet): a step that exists and is open may be parked by a transaction on its way. Everything else is a stranger.
    if exists (select 1 from private.steps where run_id = (p ->> 'run_id')::uuid and step_number = (p ->> 'step_number')::integer
               and state = 'open' and kind = 'tool') then
      perform private.fail(503, 'not_ready', 'The step is not waiting for this job yet');
    end if;
    perform private.fail(401, 'unauthorized', 'Unknown job');
  end if;
  if v_wait.token_sha256 is distinct from p ->> 'token_sha256' then
    perform private.fail(401, 'unauthorized', 'Unknown job');
  end if;
  if v_protocol > coalesce((p ->> 'protocol')::integer, 1) then
    perform private.fail(503, 'not_ready', 'Only newer code can go on with this run');
  end if;
  return v_wait;
end
$$;

create or replace function public.agent_finish_job(p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_wait private.waits := private.awaited(p);
  v_answer jsonb;
  v_tenant uuid;
begin
  if v_wait.body_sha256 is not null or v_wait.finished_at is not null then
    if v_wait.body_sha256 = p ->> 'body_sha256' then
      -- the first answer, with what its publish may have left behind
      return v_wait.answer || jsonb_build_object('publications', private.unclaimed(v_wait.run_id));
    end if;
    perform private.fail(409, 'already_answered', 'This job has been answered');
  end if;
  update private.waits set body_sha256 = p ->> 'body_sha256', finished_at = clock_timestamp(),
    confirmed_at = coalesce(confirmed_at, clock_timestamp())
  where run_id = v_wait.run_id and step_number = v_wait.step_number;
  select tenant_id into v_tenant from public.agent_task_queue
  where run_id = v_wait.run_id and step_number = v_wait.step_number and slot is not null;
  v_answer := private.apply_commit(v_wait.run_id, v_wait.step_number, p -> 'commit');
  update private.waits set answer = v_answer where run_id = v_wait.run_id and step_number = v_wait.step_number;
  if v_tenant is not null then
    v_answer := v_answer || jsonb_build_object('publications', (v_answer -> 'publications') || private.called_up(v_tenant));
  end if;
  return v_answer;
end
$$;

create or replace function private.cancel_run(p_run uuid) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_status public.agent_run_status;
  v_jobs jsonb;
  v_publications jsonb;
begin
  perform 1 from private.runs where run_id = p_run for update;
  select status into v_status from public.agent_runs where id = p_run;
  if v_status in ('completed', 'failed', 'cancelled', 'timeout') then
    perform private.fail(400, 'invalid_state', 'Cannot cancel run in status: ' || v_status);
  end if;
  -- A step whose job is out is delivered once more: it finds its run ended and removes the job.
  select coalesce(jsonb_agg(w.job_name), '[]'), coalesce(jsonb_agg(private.publication(q) || jsonb_build_object(
      'publication', q.publication + 1, 'delay_seconds', 0)), '[]') into v_jobs, v_publications
  from private.waits w join public.agent_task_queue q using (run_id, step_number)
  where w.run_id = p_run and w.kind = 'job' and w.finished_at is null;
  perform private.finish_run(p_run, 'cancelled', null, null, null);
  return private.run_answer(p_run, v_publications || private.called_up((select tenant_id from private.runs where run_id = p_run))) || jsonb_build_object('jobs', v_jobs);
end
$$;

create or replace function private.create_once(p_user uuid, p_tenant uuid, p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_run uuid := private.replay(p_user, p -> 'idempotency');
  v_publications jsonb;
begin
  if v_run is not null then
    return private.run_answer(v_run, private.unclaimed(v_run)) || '{"replayed": true}';
  end if;
  perform private.open_account(p_user, (p ->> 'opening_units')::bigint);
  v_run := gen_random_uuid();
  v_publications := private.insert_run(p_user, p_tenant, v_run, p);
  if coalesce((p ->> 'protocol')::integer, 1) > 1 then
    update private.runs set protocol = (p ->> 'protocol')::integer where run_id = v_run;
  end if;
  if jsonb_typeof(p -> 'idempotency') = 'object' then
    begin
      insert into private.idempotency_keys (user_id, key, body_sha256, run_id)
      values (p_user, p -> 'idempotency' ->> 'key', p -> 'idempotency' ->> 'body_sha256', v_run);
    exception when unique_violation then
      -- retried by the caller: the whole transaction is undone, and the next try finds the first one's run
      perform private.fail(503, 'unavailable', 'The same request is being answered');
    end;
  end if;
  return private.run_answer(v_run, v_publications) || '{"replayed": false}';
end
$$;

-- A step that a pause has held for 25 days counts more milliseconds than its column holds: such a run could not be ended.
create or replace function private.finish_run(p_run uuid, p_status public.agent_run_status, p_code text, p_message text, p_result text)
returns bigint language plpgsql set search_path = '' as $$
declare
  v_now timestamptz := clock_timestamp();
  v_step record;
  v_logs jsonb := '[]';
  v_run public.agent_runs;
begin
  insert into private.jobs_to_remove (job_name)
  select w.job_name from private.waits w where w.run_id = p_run and w.kind = 'job' and w.finished_at is null
  on conflict do nothing;
  for v_step in
    select s.*, v.status, v.tool_name from private.steps s join public.agent_steps v on v.id = s.step_id
    where s.run_id = p_run and s.state = 'open' order by s.step_number
  loop
    if v_step.lease_until > v_now then
      update private.steps set state = 'settling' where run_id = p_run and step_number = v_step.step_number;
    else
      -- a job that is out has been used; what never started has not
      perform private.settle_step(p_run, v_step.step_number, exists (
        select 1 from private.waits w where w.run_id = p_run and w.step_number = v_step.step_number and w.kind = 'job'));
      update private.steps set state = 'done', token = null, lease_until = null where run_id = p_run and step_number = v_step.step_number;
    end if;
    update public.agent_steps set status = case when v_step.status = 'running' then 'cancelled' else 'skipped' end::public.agent_step_status,
      completed_at = v_now, duration_ms = least(extract(epoch from v_now - started_at) * 1000, 2147483647)
    where id = v_step.step_id;
    if v_step.status = 'running' then
      v_logs := v_logs || private.step_event(v_step.step_id, v_step.tool_name, 'cancelled');
    end if;
  end loop;
  delete from public.agent_task_queue where run_id = p_run;
  update private.waits set finished_at = v_now where run_id = p_run and finished_at is null;
  update private.runs set deadline_at = null, group_open = 0, paused_from = null, held_at = null where run_id = p_run;
  update public.agent_runs
  set status = p_status, completed_at = v_now, current_step_id = null, error_code = p_code, error_message = p_message,
      total_credits_used = (select coalesce(sum(used), 0) / 10000.0 from private.credit_ledger where run_id = p_run),
      current_phase = case when p_status = 'completed' and plan is not null then jsonb_array_length(plan -> 'phases') else current_phase end
  where id = p_run returning * into v_run;
  v_logs := v_logs || jsonb_build_object(
    'log_type', case p_status when 'completed' then 'success' when 'cancelled' then 'state_transition' else 'error' end,
    'message', case p_status when 'completed' then 'Run completed' when 'cancelled' then 'Run cancelled' else coalesce(p_message, 'Run ended: ' || p_status) end,
    'event', 'final', 'data', jsonb_strip_nulls(jsonb_build_object('status', p_status, 'result', p_result, 'error_code', p_code,
      'error_message', p_message, 'current_phase', v_run.current_phase,
      'total_phases', coalesce(jsonb_array_length(v_run.plan -> 'phases'), 0))));
  return private.add_logs(p_run, v_logs);
end
$$;

grant create on schema private to agent_engine;
do $$
declare
  v_name text;
begin
  foreach v_name in array array['pass_slot(uuid, integer, uuid)', 'slot_freed()', 'called_up(uuid)', 'leave_slot(public.agent_task_queue)',
    'take_slot(public.agent_task_queue, jsonb)'] loop
    execute 'alter function private.' || v_name || ' owner to agent_engine';
    execute 'revoke all on function private.' || v_name || ' from public, anon, authenticated, service_role';
  end loop;
end
$$;
revoke create on schema private from agent_engine;
