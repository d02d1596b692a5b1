-- What the step function calls (role agent_step), and the sweeper.

-- The newest messages of a run that fit, and its first one; whole turns are cut out in TypeScript (shared/core/conversation.ts).
create function private.conversation(p_run uuid) returns jsonb language sql stable set search_path = '' as $$
  with newest as (
    select m.*, sum(octet_length(m.content) + coalesce(octet_length((m.metadata -> 'blocks')::text), 0)) over (order by m.step_number desc, m.position desc) as bytes
    from (select * from public.agent_messages where run_id = p_run order by step_number desc, position desc limit 400) m
  ), first as (
    select m.*, 0::bigint as bytes from public.agent_messages m where m.run_id = p_run order by m.step_number, m.position limit 1
  ), kept as (
    select * from newest where bytes <= 400000 union select f.* from first f where not exists (select 1 from newest n where n.id = f.id and n.bytes <= 400000)
  )
  select coalesce(jsonb_agg(jsonb_build_object('step_number', step_number, 'role', role, 'content', content, 'tool_call_id', tool_call_id,
    'tool_name', tool_name, 'is_error', coalesce((metadata ->> 'is_error')::boolean, false), 'blocks', metadata -> 'blocks',
    'attachments', attachments) order by step_number, position), '[]') from kept
$$;

-- Takes the step if it is due, or says why not. Claim answers are in shared/ports/store.ts. A claim that is lost in a crash matches
-- nothing later, so it need not wait for the disk.
create function public.agent_claim_step(p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
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
  select * into v_wait from private.waits where run_id = v_id and step_number = v_number and finished_at is null;
  if v_row.status = 'paused' and v_wait.kind is distinct from 'job' then
    -- an attempt in work keeps its place on the schedule: a resume leaves it alone, and its process may be dead
    update public.agent_task_queue set publish_at = null where run_id = v_id and step_number = v_number and private.is_idle(v_id, v_number);
    return '{"refused": "paused", "publications": []}';
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
    return '{"refused": "switched_off", "publications": []}';
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
      return jsonb_build_object('refused', 'done', 'publications', v_answer -> 'publications');
    end;
  end if;

  update private.steps
  set attempt = attempt + (v_wait.kind is null)::integer, fence = fence + 1, token = gen_random_uuid(), lease_until = v_now + v_lease * interval '1 second'
  where run_id = v_id and step_number = v_number returning * into v_step;
  update public.agent_task_queue set publish_at = v_step.lease_until + interval '2 seconds' where run_id = v_id and step_number = v_number;
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

-- The step of a fence, if the fence still holds; locks the run. An open step also needs its lease: by database time a lapsed
-- holder writes nothing, even while nobody else has claimed.
create function private.fenced(p jsonb) returns private.steps language plpgsql set search_path = '' as $$
declare
  v_step private.steps;
begin
  perform 1 from private.runs where run_id = (p ->> 'run_id')::uuid for update;
  select * into v_step from private.steps
  where run_id = (p ->> 'run_id')::uuid and step_number = (p ->> 'step_number')::integer
    and fence = (p ->> 'fence')::bigint and token = (p ->> 'token')::uuid
    and (state <> 'open' or lease_until > clock_timestamp());
  return v_step;
end
$$;

create function private.stale(p_run uuid) returns jsonb language sql stable set search_path = '' as $$
  select jsonb_build_object('committed', false, 'run_status', r.status, 'publications', '[]'::jsonb, 'log_seq', e.log_seq)
  from public.agent_runs r join private.runs e on e.run_id = r.id where r.id = p_run
$$;

create function public.agent_renew_lease(p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_step private.steps := private.fenced(p);
  v_until timestamptz := clock_timestamp() + (p ->> 'lease_seconds')::integer * interval '1 second';
begin
  perform set_config('synchronous_commit', 'off', true);
  if v_step.run_id is null then return '{"held": false, "cancelled": false}'; end if;
  if v_step.state <> 'open' then return '{"held": false, "cancelled": true}'; end if;
  update private.steps set lease_until = v_until where run_id = v_step.run_id and step_number = v_step.step_number;
  update public.agent_task_queue set publish_at = v_until + interval '2 seconds' where run_id = v_step.run_id and step_number = v_step.step_number;
  return '{"held": true, "cancelled": false}';
end
$$;

create function public.agent_commit_step(p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_step private.steps := private.fenced(p);
begin
  if v_step.run_id is null or v_step.state <> 'open' then return private.stale((p ->> 'run_id')::uuid); end if;
  -- a check that ends a job's wait closes it, so that a late callback finds its answer taken
  update private.waits set finished_at = clock_timestamp() where run_id = v_step.run_id and step_number = v_step.step_number and finished_at is null;
  return private.apply_commit(v_step.run_id, v_step.step_number, p -> 'commit');
end
$$;

create function public.agent_release_step(p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_step private.steps := private.fenced(p);
  v_due timestamptz := clock_timestamp() + (p ->> 'delay_seconds')::integer * interval '1 second';
  v_queue public.agent_task_queue;
  v_paused boolean;
begin
  if v_step.run_id is null or v_step.state <> 'open' then return private.stale((p ->> 'run_id')::uuid); end if;
  v_paused := exists (select 1 from public.agent_runs where id = v_step.run_id and status = 'paused');
  update private.steps set token = null, lease_until = null, last_error = left(p ->> 'error', 2000),
    attempt = attempt - (coalesce((p ->> 'free')::boolean, false) and attempt > 0)::integer
  where run_id = v_step.run_id and step_number = v_step.step_number;
  update public.agent_task_queue set due_at = v_due, publication = publication + 1,
    publish_at = case when not v_paused then v_due + interval '20 seconds' end
  where run_id = v_step.run_id and step_number = v_step.step_number returning * into v_queue;
  return private.stale(v_step.run_id) || jsonb_build_object('committed', true, 'publications',
    case when v_paused then '[]' else jsonb_build_array(private.publication(v_queue)) end);
end
$$;

-- Waits for a job. Only after this is committed is the job made; until its runner has called, the sweeper looks after
-- `check_seconds`, afterwards at the deadline. Parking again (the job was not there) keeps the deadline and the token.
create function public.agent_park_step(p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_step private.steps := private.fenced(p);
  v_now timestamptz := clock_timestamp();
  v_deadline timestamptz := v_now + (p ->> 'deadline_seconds')::integer * interval '1 second';
  v_check timestamptz := v_now + (p ->> 'check_seconds')::integer * interval '1 second';
begin
  if v_step.run_id is null or v_step.state <> 'open' then return private.stale((p ->> 'run_id')::uuid); end if;
  insert into private.waits (run_id, step_number, kind, job_name, token_sha256, deadline_at)
  values (v_step.run_id, v_step.step_number, 'job', p ->> 'job_name', p ->> 'token_sha256', v_deadline)
  on conflict (run_id, step_number) do nothing;
  update private.steps set token = null, lease_until = null where run_id = v_step.run_id and step_number = v_step.step_number;
  update public.agent_task_queue set due_at = v_check, publish_at = v_check, publication = publication + 1
  where run_id = v_step.run_id and step_number = v_step.step_number;
  return private.stale(v_step.run_id) || '{"committed": true}';
end
$$;

-- The wait that this token's job stands for. Locks the run.
create function private.awaited(p jsonb) returns private.waits language plpgsql set search_path = '' as $$
declare
  v_wait private.waits;
begin
  perform 1 from private.runs where run_id = (p ->> 'run_id')::uuid for update;
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
  return v_wait;
end
$$;

create function public.agent_start_job(p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_wait private.waits := private.awaited(p);
  v_visible public.agent_steps;
  v_run private.runs;
begin
  if v_wait.finished_at is not null then
    perform private.fail(409, 'already_answered', 'This job has been answered');
  end if;
  update private.waits set confirmed_at = coalesce(confirmed_at, clock_timestamp()) where run_id = v_wait.run_id and step_number = v_wait.step_number;
  update public.agent_task_queue set due_at = v_wait.deadline_at, publish_at = v_wait.deadline_at where run_id = v_wait.run_id and step_number = v_wait.step_number;
  select * into v_run from private.runs where run_id = v_wait.run_id;
  select * into v_visible from public.agent_steps where run_id = v_wait.run_id and step_number = v_wait.step_number;
  return jsonb_build_object('tool_name', v_visible.tool_name, 'tool_input', v_visible.tool_input, 'run_id', v_wait.run_id,
    'user_id', v_run.user_id, 'idempotency_key', v_visible.idempotency_key, 'files', (
      select coalesce(jsonb_agg(jsonb_build_object('path', path, 'sha256', sha256, 'size', size, 'mode', mode) order by path), '[]')
      from private.workspace_files where run_id = v_wait.run_id and to_step is null));
end
$$;

-- For the door's other routes: whose job it is, whether it is still awaited, whether a hash is a file of its run.
create function public.agent_check_job(p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_wait private.waits;
begin
  select * into v_wait from private.waits where run_id = (p ->> 'run_id')::uuid and step_number = (p ->> 'step_number')::integer
    and kind = 'job' and token_sha256 = p ->> 'token_sha256';
  if not found then
    perform private.fail(401, 'unauthorized', 'Unknown job');
  end if;
  return (select jsonb_build_object('user_id', r.user_id, 'step_id', s.step_id, 'cancelled', v_wait.finished_at is not null,
      'owned', p ? 'sha256' and exists (select 1 from private.workspace_files w where w.run_id = r.run_id and w.sha256 = p ->> 'sha256'))
    from private.runs r join private.steps s using (run_id) where r.run_id = v_wait.run_id and s.step_number = v_wait.step_number);
end
$$;

create function public.agent_finish_job(p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_wait private.waits := private.awaited(p);
  v_answer jsonb;
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
  v_answer := private.apply_commit(v_wait.run_id, v_wait.step_number, p -> 'commit');
  update private.waits set answer = v_answer where run_id = v_wait.run_id and step_number = v_wait.step_number;
  return v_answer;
end
$$;

create function public.agent_settle_attempt(p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_step private.steps := private.fenced(p);
  v_charged bigint;
begin
  if v_step.run_id is null or v_step.state <> 'settling' then return '{"settled": false}'; end if;
  v_charged := private.settle_step(v_step.run_id, v_step.step_number, coalesce((p ->> 'used')::boolean, true));
  update private.steps set state = 'done', token = null, lease_until = null where run_id = v_step.run_id and step_number = v_step.step_number;
  update public.agent_steps set tokens_used = (p ->> 'tokens_used')::integer, credits_used = v_charged / 10000.0 where id = v_step.step_id;
  update public.agent_runs set total_tokens_used = total_tokens_used + (p ->> 'tokens_used')::bigint, total_credits_used = total_credits_used + v_charged / 10000.0
  where id = v_step.run_id;
  return '{"settled": true}';
end
$$;

create function public.agent_read_files(p jsonb) returns jsonb language sql stable security definer set search_path = '' as $$
  select coalesce(jsonb_agg(jsonb_build_object('path', f.path, 'sha256', f.sha256, 'size', f.size, 'mode', f.mode) order by f.path), '[]')
  from (
    select * from private.workspace_files
    where run_id = (p ->> 'run_id')::uuid and to_step is null
      and (jsonb_typeof(p -> 'paths') is distinct from 'array' or path in (select jsonb_array_elements_text(p -> 'paths')))
      and (jsonb_typeof(p -> 'under') is distinct from 'string' or starts_with(path, p ->> 'under'))
    order by path limit (p ->> 'limit')::integer) f
$$;

-- The sweeper: ends what is past its deadline, settles attempts that were in flight when their run ended, forgets what has expired.
-- Bounded work a call. `due` counts what has to be published by POST /agent/step/sweep; nothing is called when it is 0.
create function public.agent_sweep(p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_run record;
  v_ended integer := 0;
  v_settled integer := 0;
  v_charged bigint;
begin
  for v_run in
    select e.run_id, r.status from private.runs e join public.agent_runs r on r.id = e.run_id
    where e.deadline_at <= clock_timestamp() order by e.deadline_at limit 200 for update of e skip locked
  loop
    perform private.finish_run(v_run.run_id, 'timeout', 'RUN_TIMEOUT', case v_run.status
      when 'created' then 'The run was not started within 24 hours.'
      when 'waiting_user' then 'The run waited 30 days for an answer.'
      when 'paused' then 'The run was paused for 30 days.'
      else 'The run reached its time limit.' end, null);
    v_ended := v_ended + 1;
  end loop;
  for v_run in
    select s.run_id, s.step_number, s.step_id from private.steps s join private.runs r using (run_id)
    where s.state = 'settling' and s.lease_until <= clock_timestamp() limit 200 for update of r skip locked
  loop
    v_charged := private.settle_step(v_run.run_id, v_run.step_number, true);
    update private.steps set state = 'done', token = null, lease_until = null where run_id = v_run.run_id and step_number = v_run.step_number;
    update public.agent_steps set credits_used = v_charged / 10000.0 where id = v_run.step_id;
    update public.agent_runs set total_credits_used = total_credits_used + v_charged / 10000.0 where id = v_run.run_id;
    v_settled := v_settled + 1;
  end loop;
  delete from private.idempotency_keys where ctid in (
    select ctid from private.idempotency_keys where created_at < clock_timestamp() - interval '24 hours' limit 1000);
  delete from private.stream_tickets where ctid in (
    select ctid from private.stream_tickets where expires_at < clock_timestamp() limit 1000);
  return jsonb_build_object('ended', v_ended, 'settled', v_settled, 'due',
    (select count(*) from (select 1 from public.agent_task_queue where publish_at <= clock_timestamp() limit 1000) q)
    + (select count(*) from (select 1 from private.jobs_to_remove where requested_at <= clock_timestamp() limit 1000) j));
end
$$;

-- What is due and unclaimed, each with its publication raised, fairly across tenants; and the jobs to remove. The next look at a
-- step that stays unclaimed comes later each time, up to five minutes.
create function public.agent_sweep_due(p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_limit integer := (p ->> 'limit')::integer;
  v_publications jsonb;
  v_jobs jsonb;
begin
  perform public.agent_sweep('{}');
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
  return jsonb_build_object('publications', v_publications, 'jobs_to_remove', v_jobs);
end
$$;

-- Whether the schema is there and the asking role is as narrow as it has to be.
create function public.agent_ready(p jsonb) returns jsonb language sql stable set search_path = '' as $$
  select jsonb_build_object('schema', 1, 'role', current_user, 'bypass_rls',
    (select r.rolbypassrls or r.rolsuper from pg_catalog.pg_roles r where r.rolname = current_user))
$$;

-- Owners and grants: definer functions belong to roles that row security binds, and EXECUTE is given by name.
grant create on schema public to agent_engine, agent_front;
do $$
declare
  f record;
  v_front text[] := array['agent_prepare_create', 'agent_create_run', 'agent_start_run', 'agent_cancel_run', 'agent_pause_run', 'agent_resume_run',
    'agent_retry_run', 'agent_read_run', 'agent_read_logs', 'agent_read_events', 'agent_list_runs', 'agent_issue_ticket', 'agent_use_ticket',
    'agent_close_ticket'];
  v_step text[] := array['agent_claim_step', 'agent_renew_lease', 'agent_commit_step', 'agent_release_step', 'agent_park_step', 'agent_start_job',
    'agent_check_job', 'agent_finish_job', 'agent_settle_attempt', 'agent_read_files', 'agent_sweep_due'];
  -- what agent_front reaches into: these run as the engine, on a run that row security has shown to be the caller's
  v_inner text[] := array['act_as', 'tenant_of', 'replay', 'create_once', 'start_run', 'cancel_run', 'pause_run', 'resume_run', 'retry_run',
    'insert_ticket', 'use_ticket', 'close_ticket', 'unclaimed', 'open_account', 'run_answer'];
begin
  for f in select p.oid::regprocedure::text as signature, n.nspname, p.proname, p.prosecdef from pg_catalog.pg_proc p
           join pg_catalog.pg_namespace n on n.oid = p.pronamespace
           where n.nspname = 'private' or (n.nspname = 'public' and p.proname like 'agent\_%') loop
    execute format('revoke all on function %s from public, anon, authenticated, service_role', f.signature);
    if f.nspname = 'public' then
      if f.proname = any (v_front) then
        execute format('alter function %s owner to agent_front', f.signature);
        execute format('grant execute on function %s to agent_api', f.signature);
      elsif f.proname = any (v_step) then
        execute format('alter function %s owner to agent_engine', f.signature);
        execute format('grant execute on function %s to agent_step', f.signature);
      elsif f.proname = 'agent_sweep' then
        execute format('alter function %s owner to agent_engine', f.signature);
        execute format('grant execute on function %s to agent_step, %I', f.signature, current_user);
      elsif f.proname = 'agent_ready' then
        execute format('grant execute on function %s to agent_api, agent_step', f.signature);
      end if;
    elsif f.proname = 'current_user_id' then
      execute format('grant execute on function %s to authenticated, agent_front, agent_engine', f.signature);
    elsif f.proname = 'check_run_transition' then
      null; -- a trigger function: belongs to the table's owner
    elsif f.proname in ('fail', 'own_run') then
      execute format('alter function %s owner to agent_front', f.signature);
      execute format('grant execute on function %s to agent_front, agent_engine', f.signature);
    else
      execute format('alter function %s owner to agent_engine', f.signature);
      if f.proname = any (v_inner) then
        execute format('alter function %s security definer', f.signature);
        execute format('grant execute on function %s to agent_front', f.signature);
      end if;
    end if;
  end loop;
end
$$;
revoke create on schema public from agent_engine, agent_front;
revoke create on schema private from agent_engine, agent_front;
