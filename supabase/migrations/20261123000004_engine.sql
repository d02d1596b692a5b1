-- The engine's inner functions. All run as agent_engine, are called by the functions of the next two files, and by nobody else.
-- The row of private.runs is locked first by every writer, so that a run's changes are one after another.

-- Raises an error that PostgREST answers with `p_status` and whose HINT is a code of shared/core/errors.ts.
create function private.fail(p_status integer, p_code text, p_message text, p_detail text default null) returns void
language plpgsql set search_path = '' as $$
begin
  raise exception using errcode = 'PT' || p_status, message = p_message, hint = p_code, detail = coalesce(p_detail, '');
end
$$;

create function private.sha256_hex(p text) returns text language sql immutable set search_path = '' as $$
  select encode(sha256(convert_to(p, 'UTF8')), 'hex')
$$;

-- Writes log rows with dense numbers and strictly rising times (old callers page by created_at). Each element:
-- {log_type, message, event?, step_id?, message_id?, artifact_id?, data?}. Returns the run's newest number.
create function private.add_logs(p_run uuid, p_logs jsonb) returns bigint language plpgsql set search_path = '' as $$
declare
  v_count integer := jsonb_array_length(p_logs);
  v_last bigint;
  v_time timestamptz;
  v_user uuid;
begin
  update private.runs
  set log_seq = log_seq + v_count,
      last_log_at = greatest(clock_timestamp(), last_log_at + interval '1 microsecond') + (v_count - 1) * interval '1 microsecond'
  where run_id = p_run returning log_seq, last_log_at, user_id into v_last, v_time, v_user;
  insert into public.agent_task_logs (run_id, user_id, seq, log_type, message, metadata, created_at)
  select p_run, v_user, v_last - v_count + l.n, (l.e ->> 'log_type')::public.agent_log_type, l.e ->> 'message',
         jsonb_strip_nulls(jsonb_build_object('event', l.e -> 'event', 'step_id', l.e -> 'step_id', 'message_id', l.e -> 'message_id',
           'artifact_id', l.e -> 'artifact_id')) || case when l.e ? 'data' then jsonb_build_object('data', l.e -> 'data') else '{}' end,
         v_time - (v_count - l.n) * interval '1 microsecond'
  from jsonb_array_elements(p_logs) with ordinality as l (e, n);
  return v_last;
end
$$;

create function private.run_event(p_status text, p_phase integer, p_total integer) returns jsonb
language sql immutable set search_path = '' as $$
  select jsonb_build_object('log_type', 'state_transition', 'message', 'Run is ' || p_status, 'event', 'run',
    'data', jsonb_build_object('status', p_status, 'current_phase', p_phase, 'total_phases', p_total))
$$;

create function private.step_event(p_step uuid, p_tool text, p_status text) returns jsonb
language sql immutable set search_path = '' as $$
  select jsonb_build_object(
    'log_type', case p_status when 'completed' then 'tool_success' when 'failed' then 'tool_error' else 'info' end,
    'message', p_tool || ' ' || p_status, 'event', 'step', 'step_id', p_step, 'data', jsonb_build_object('status', p_status))
$$;

-- Opens a user's account with its first balance, once.
create function private.open_account(p_user uuid, p_opening_units bigint) returns void language plpgsql set search_path = '' as $$
begin
  if exists (select 1 from public.credit_balances where user_id = p_user) then return; end if;
  insert into public.credit_balances (user_id, available_credits, total_credits)
  values (p_user, p_opening_units / 10000.0, p_opening_units / 10000.0) on conflict do nothing;
  if found then
    insert into private.credit_ledger (user_id, kind, available) values (p_user, 'opening', p_opening_units);
  end if;
end
$$;

-- Takes p_units from what is available; false when there is not enough (then nothing changed).
create function private.take_credit(p_user uuid, p_units bigint) returns boolean language plpgsql set search_path = '' as $$
begin
  if p_units = 0 then return true; end if;
  update public.credit_balances set available_credits = available_credits - p_units / 10000.0, updated_at = clock_timestamp()
  where user_id = p_user and available_credits >= p_units / 10000.0;
  return found;
end
$$;

-- Ends the reservation of one step: charged when it was used, else given back. Once a step, by a unique index.
create function private.settle_step(p_run uuid, p_step integer, p_used boolean) returns bigint language plpgsql set search_path = '' as $$
declare
  v_reserved bigint;
  v_user uuid;
begin
  select -available, user_id into v_reserved, v_user from private.credit_ledger
  where run_id = p_run and step_number = p_step and kind = 'reserve';
  if not found or v_reserved = 0 then return 0; end if;
  if p_used then
    insert into private.credit_ledger (user_id, run_id, step_number, kind, available, used)
    values (v_user, p_run, p_step, 'charge', 0, v_reserved);
    update public.credit_balances set used_credits = used_credits + v_reserved / 10000.0, updated_at = clock_timestamp() where user_id = v_user;
    return v_reserved;
  end if;
  insert into private.credit_ledger (user_id, run_id, step_number, kind, available, used)
  values (v_user, p_run, p_step, 'refund', v_reserved, 0);
  update public.credit_balances set available_credits = available_credits + v_reserved / 10000.0, updated_at = clock_timestamp()
  where user_id = v_user;
  return 0;
end
$$;

-- The publication of a step, as the scheduler wants it.
create function private.publication(p_queue public.agent_task_queue) returns jsonb language sql stable set search_path = '' as $$
  select jsonb_build_object('run_id', p_queue.run_id, 'step_number', p_queue.step_number, 'epoch', p_queue.epoch,
    'publication', p_queue.publication, 'delay_seconds',
    greatest(0, ceil(extract(epoch from p_queue.due_at - clock_timestamp()))::integer))
$$;

-- Inserts steps with consecutive numbers, reserves their cost and puts them on the queue. p_due null: not due before a later event
-- (a start, a user's answer). Returns publications; null when the credit does not suffice (then nothing changed).
create function private.add_steps(p_run uuid, p_steps jsonb, p_due timestamptz) returns jsonb language plpgsql set search_path = '' as $$
declare
  v_run private.runs;
  v_count integer := jsonb_array_length(p_steps);
  v_cost bigint;
  v_publications jsonb;
begin
  update private.runs set next_step = next_step + v_count where run_id = p_run returning * into v_run;
  select coalesce(sum((s ->> 'cost_units')::bigint), 0) into v_cost from jsonb_array_elements(p_steps) s;
  if not private.take_credit(v_run.user_id, v_cost) then
    update private.runs set next_step = next_step - v_count where run_id = p_run;
    return null;
  end if;
  with new as (
    select v_run.next_step - v_count + s.n::integer - 1 as number, gen_random_uuid() as step_id, s.e
    from jsonb_array_elements(p_steps) with ordinality as s (e, n)
  ), visible as (
    insert into public.agent_steps (id, run_id, user_id, step_number, phase_number, tool_type, tool_name, tool_input, idempotency_key)
    select step_id, p_run, v_run.user_id, number, (e ->> 'phase_number')::integer, (e ->> 'tool_type')::public.agent_tool_type,
           e ->> 'tool_name', coalesce(e -> 'tool_input', '{}'), p_run || ':' || number
    from new
  ), reserved as (
    insert into private.credit_ledger (user_id, run_id, step_number, kind, available)
    select v_run.user_id, p_run, number, 'reserve', -(e ->> 'cost_units')::bigint from new
  ), queued as (
    insert into public.agent_task_queue (run_id, step_number, tenant_id, epoch, due_at, publish_at)
    select p_run, number, v_run.tenant_id, v_run.epoch, coalesce(p_due, 'infinity'), p_due + interval '20 seconds' from new
    returning agent_task_queue.*
  ), steps as (
    insert into private.steps (run_id, step_number, step_id, kind, tool_call_id, cost)
    select p_run, number, step_id, e ->> 'kind', e ->> 'tool_call_id', (e ->> 'cost_units')::bigint from new
  )
  select jsonb_agg(private.publication(q) order by q.step_number) into v_publications from queued q where p_due is not null;
  update public.agent_runs set total_steps = total_steps + v_count where id = p_run;
  return coalesce(v_publications, '[]');
end
$$;

create function private.add_messages(p_run uuid, p_step_number integer, p_step uuid, p_messages jsonb) returns void
language plpgsql set search_path = '' as $$
begin
  if jsonb_array_length(p_messages) = 0 then return; end if;
  insert into public.agent_messages (id, run_id, user_id, step_id, step_number, role, content, tool_call_id, tool_name, attachments, metadata)
  select coalesce((m.e ->> 'id')::uuid, gen_random_uuid()), p_run, r.user_id, p_step, p_step_number, m.e ->> 'role', m.e ->> 'content',
         m.e ->> 'tool_call_id', m.e ->> 'tool_name', coalesce(m.e -> 'attachments', '[]'),
         jsonb_strip_nulls(jsonb_build_object('is_error', case when (m.e ->> 'is_error')::boolean then true end))
           || case when jsonb_typeof(m.e -> 'blocks') = 'array' then jsonb_build_object('blocks', m.e -> 'blocks') else '{}' end
  from private.runs r, jsonb_array_elements(p_messages) with ordinality as m (e, n)
  where r.run_id = p_run order by m.n;
  update private.runs set messages = messages + jsonb_array_length(p_messages) where run_id = p_run;
end
$$;

-- Ends a run. What was not started is given back; an attempt in flight keeps its reservation until settle_attempt or its lease's end.
create function private.finish_run(p_run uuid, p_status public.agent_run_status, p_code text, p_message text, p_result text)
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
      completed_at = v_now, duration_ms = case when started_at is not null then extract(epoch from v_now - started_at) * 1000 end
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

-- A new run with its first step. p: {prompt, mode, project_id, connector_ids, metadata, memory_context, tags, attachments, files,
-- auto_start, limits, warnings, first_step}. Returns its publications.
create function private.insert_run(p_user uuid, p_tenant uuid, p_run uuid, p jsonb) returns jsonb language plpgsql set search_path = '' as $$
declare
  v_now timestamptz := clock_timestamp();
  v_start boolean := (p ->> 'auto_start')::boolean;
  v_timeout integer := (p -> 'limits' ->> 'timeout_seconds')::integer;
  v_publications jsonb;
  v_logs jsonb := '[]';
  v_warning text;
begin
  insert into public.agent_runs (id, user_id, tenant_id, project_id, prompt, mode, config, status, created_at, timeout_at, metadata, tags)
  values (p_run, p_user, p_tenant, (p ->> 'project_id')::uuid, p ->> 'prompt', (p ->> 'mode')::public.agent_run_mode,
    jsonb_build_object('limits', p -> 'limits', 'memory_context', p -> 'memory_context'),
    case when v_start then 'queued' else 'created' end::public.agent_run_status, v_now,
    case when v_start then v_now + v_timeout * interval '1 second' end,
    coalesce(p -> 'metadata', '{}'), coalesce(array(select jsonb_array_elements_text(p -> 'tags')), '{}'));
  insert into private.runs (run_id, user_id, tenant_id, max_steps, timeout_seconds, deadline_at)
  values (p_run, p_user, p_tenant, (p -> 'limits' ->> 'max_steps')::integer, v_timeout,
    v_now + case when v_start then v_timeout * interval '1 second' else interval '24 hours' end);
  insert into public.agent_run_connectors (run_id, connector_id, user_id)
  select distinct p_run, c, p_user from jsonb_array_elements_text(p -> 'connector_ids') c;
  insert into private.workspace_files (run_id, path, from_step, sha256, size, mode)
  select p_run, f ->> 'path', -1, f ->> 'sha256', (f ->> 'size')::bigint, (f ->> 'mode')::integer from jsonb_array_elements(p -> 'files') f;
  update private.runs set (files, bytes) = (select count(*), coalesce(sum(size), 0) from private.workspace_files where run_id = p_run)
  where run_id = p_run;
  perform private.add_messages(p_run, 0, null, jsonb_build_array(jsonb_build_object('role', 'user', 'content', p ->> 'prompt',
    'attachments', coalesce(p -> 'attachments', '[]'))));
  -- A run that is not started yet holds no reservation: its first step is added by the start.
  if v_start then
    v_publications := private.add_steps(p_run, jsonb_build_array(p -> 'first_step'), v_now);
    if v_publications is null then
      perform private.fail(402, 'insufficient_credits', 'Insufficient credits');
    end if;
  end if;
  v_logs := jsonb_build_array(private.run_event(case when v_start then 'queued' else 'created' end, 0, 0));
  for v_warning in select jsonb_array_elements_text(p -> 'warnings') loop
    v_logs := v_logs || jsonb_build_object('log_type', 'warning', 'message', v_warning, 'event', 'warning');
  end loop;
  perform private.add_logs(p_run, v_logs);
  return coalesce(v_publications, '[]');
end
$$;

-- Applies how a step ended and what follows (StepCommit in shared/ports/store.ts). The caller has checked fence or token and holds
-- the lock on private.runs. Returns {committed, run_status, publications, log_seq}.
create function private.apply_commit(p_run uuid, p_step_number integer, c jsonb) returns jsonb language plpgsql set search_path = '' as $$
declare
  v_now timestamptz := clock_timestamp();
  v_run private.runs;
  v_row public.agent_runs;
  v_step private.steps;
  v_tool text;
  v_started timestamptz;
  v_charged bigint;
  v_next jsonb := c -> 'next';
  v_kind text := c -> 'next' ->> 'kind';
  v_total integer;
  v_logs jsonb := '[]';
  v_e jsonb;
  v_id uuid;
  v_bad text;
  v_seq bigint;
  v_publications jsonb := '[]';
  v_phase integer;
  v_status public.agent_run_status;
begin
  select * into v_run from private.runs where run_id = p_run;
  select * into v_row from public.agent_runs where id = p_run;
  select * into v_step from private.steps where run_id = p_run and step_number = p_step_number;

  -- Files: bytes verified in this attempt, or a hash of the run's own files; a foreign hash gives nobody a file.
  select f ->> 'path' into v_bad from jsonb_array_elements(c -> 'files' -> 'put') f
  where not (c -> 'verified' ? (f ->> 'sha256'))
    and not exists (select 1 from private.workspace_files w where w.run_id = p_run and w.sha256 = f ->> 'sha256') limit 1;
  if v_bad is not null then
    perform private.fail(400, 'invalid_request', 'File ' || v_bad || ' names bytes that were not verified');
  end if;
  if jsonb_array_length(c -> 'files' -> 'put') + jsonb_array_length(c -> 'files' -> 'removed') > 0 then
    -- A repeat within the same step cannot be: a step commits once. Parallel members of a group write under their own numbers.
    update private.workspace_files w set to_step = p_step_number
    where w.run_id = p_run and w.to_step is null and (w.path in (select jsonb_array_elements_text(c -> 'files' -> 'removed'))
      or w.path in (select f ->> 'path' from jsonb_array_elements(c -> 'files' -> 'put') f));
    insert into private.workspace_files (run_id, path, from_step, sha256, size, mode)
    select p_run, f ->> 'path', p_step_number, f ->> 'sha256', (f ->> 'size')::bigint, (f ->> 'mode')::integer
    from jsonb_array_elements(c -> 'files' -> 'put') f;
    update private.runs set (files, bytes) = (select count(*), coalesce(sum(size), 0) from private.workspace_files where run_id = p_run and to_step is null)
    where run_id = p_run;
  end if;

  v_charged := private.settle_step(p_run, p_step_number, true);
  update public.agent_steps
  set status = (c ->> 'status')::public.agent_step_status, tool_output = case when jsonb_typeof(c -> 'output') = 'object' then c -> 'output' end,
      output_text = c ->> 'output_text', error_code = c ->> 'error_code', error_message = c ->> 'error_message',
      tokens_used = (c ->> 'tokens_used')::integer, credits_used = v_charged / 10000.0, started_at = coalesce(started_at, v_now),
      completed_at = v_now, duration_ms = extract(epoch from v_now - coalesce(started_at, v_now)) * 1000,
      retry_count = greatest(0, v_step.attempt - 1)
  where id = v_step.step_id returning tool_name, started_at into v_tool, v_started;
  update private.steps set state = 'done', token = null, lease_until = null where run_id = p_run and step_number = p_step_number;
  delete from public.agent_task_queue where run_id = p_run and step_number = p_step_number;

  -- a tool's result answers the call that made the step: its id is ours to know, not the writer's
  perform private.add_messages(p_run, p_step_number, v_step.step_id, (
    select coalesce(jsonb_agg(case when v_step.kind = 'tool' and e ->> 'role' = 'tool'
      then e || jsonb_build_object('tool_call_id', v_step.tool_call_id, 'tool_name', v_tool) else e end order by n), '[]')
    from jsonb_array_elements(c -> 'messages') with ordinality as m (e, n)));
  for v_e in select e from jsonb_array_elements(c -> 'messages') e where e ->> 'role' = 'assistant' and e ->> 'content' <> '' loop
    v_logs := v_logs || jsonb_build_object('log_type', 'info', 'message', left(v_e ->> 'content', 500), 'event', 'message',
      'message_id', v_e ->> 'id', 'step_id', v_step.step_id,
      'data', jsonb_build_object('kind', case when v_kind = 'complete' or v_step.kind = 'tool' then 'answer' else 'thinking' end));
  end loop;
  for v_e in select jsonb_array_elements(c -> 'logs') loop
    v_logs := v_logs || jsonb_strip_nulls(jsonb_build_object('log_type', v_e ->> 'log_type', 'message', v_e ->> 'message',
      'event', v_e ->> 'event', 'step_id', v_step.step_id, 'data', v_e -> 'data'));
  end loop;
  v_logs := v_logs || private.step_event(v_step.step_id, v_tool, c ->> 'status');
  for v_e in select jsonb_array_elements(c -> 'artifacts') loop
    insert into public.agent_artifacts (run_id, step_id, user_id, filename, file_path, file_type, file_size, content_hash, storage_bucket,
      storage_key, signed_url, signed_url_expires_at)
    values (p_run, v_step.step_id, v_run.user_id, v_e ->> 'filename', v_e ->> 'file_path', v_e ->> 'file_type', (v_e ->> 'file_size')::bigint,
      v_e ->> 'content_hash', v_e ->> 'storage_bucket', v_e ->> 'storage_key', v_e ->> 'signed_url',
      (v_e ->> 'signed_url_expires_at')::timestamptz) returning id into v_id;
    v_logs := v_logs || jsonb_build_object('log_type', 'success', 'message', 'File ' || (v_e ->> 'filename'), 'event', 'artifact',
      'artifact_id', v_id, 'step_id', v_step.step_id);
  end loop;

  if jsonb_typeof(c -> 'plan') = 'object' then
    update public.agent_runs set plan = c -> 'plan', plan_version = plan_version + 1,
      estimated_credits = (c -> 'plan' ->> 'total_estimated_credits')::numeric where id = p_run returning * into v_row;
    v_logs := v_logs || jsonb_build_object('log_type', 'info', 'message', 'Plan: ' || left(c -> 'plan' ->> 'goal', 300), 'event', 'plan',
      'data', jsonb_build_object('total_phases', jsonb_array_length(c -> 'plan' -> 'phases')));
  end if;
  v_total := coalesce(jsonb_array_length(v_row.plan -> 'phases'), 0);
  v_phase := coalesce((c ->> 'current_phase')::integer, v_row.current_phase);
  if v_phase <> v_row.current_phase then
    v_logs := v_logs || jsonb_build_object('log_type', 'phase_advance',
      'message', 'Phase ' || v_phase || coalesce(': ' || (v_row.plan -> 'phases' -> (v_phase - 1) ->> 'name'), ''), 'event', 'phase',
      'data', jsonb_build_object('from_phase', v_row.current_phase, 'to_phase', v_phase, 'total_phases', v_total));
  end if;

  update public.agent_runs
  set completed_steps = completed_steps + (c ->> 'status' = 'completed')::integer, failed_steps = failed_steps + (c ->> 'status' = 'failed')::integer,
      total_tokens_used = total_tokens_used + (c ->> 'tokens_used')::bigint, total_credits_used = total_credits_used + v_charged / 10000.0,
      current_phase = v_phase
  where id = p_run returning * into v_row;

  -- planning becomes executing with the plan, also below a pause
  if jsonb_typeof(c -> 'plan') = 'object' then
    if v_row.status = 'planning' then
      update public.agent_runs set status = 'executing' where id = p_run returning * into v_row;
      v_logs := v_logs || private.run_event('executing', v_phase, v_total);
    elsif v_row.status = 'paused' and v_run.paused_from = 'planning' then
      update private.runs set paused_from = 'executing' where run_id = p_run returning * into v_run;
    end if;
  end if;

  if v_kind = 'group' then
    update private.runs set group_open = group_open - 1 where run_id = p_run returning * into v_run;
    if v_run.group_open = 0 then
      v_next := jsonb_build_object('kind', 'steps', 'steps', jsonb_build_array(
        v_next -> 'model_step' || jsonb_build_object('phase_number', v_row.current_phase)));
      v_kind := 'steps';
    end if;
  end if;
  if v_kind in ('steps', 'wait_user') then
    if v_run.next_step + jsonb_array_length(v_next -> 'steps') > v_run.max_steps then
      v_kind := 'fail';
      v_next := jsonb_build_object('code', 'STEP_LIMIT', 'message', 'The run reached its limit of ' || v_run.max_steps || ' steps.');
    else
      v_publications := private.add_steps(p_run, v_next -> 'steps',
        case when v_kind = 'wait_user' or v_row.status = 'paused' then null else v_now end);
      if v_publications is null then
        v_kind := 'fail';
        v_next := jsonb_build_object('code', 'INSUFFICIENT_CREDITS', 'message', 'Insufficient credits to continue.');
      elsif v_next -> 'steps' -> 0 ->> 'kind' = 'tool' then
        update private.runs set group_open = jsonb_array_length(v_next -> 'steps') where run_id = p_run;
      end if;
    end if;
  end if;

  if v_kind = 'wait_user' then
    insert into private.waits (run_id, step_number, kind, deadline_at)
    values (p_run, v_run.next_step, 'user', v_now + interval '30 days');
    v_logs := v_logs || jsonb_build_object('log_type', 'user_input_required', 'message', v_next ->> 'question', 'event', 'user_input_required',
      'step_id', v_step.step_id, 'data', jsonb_build_object('question', v_next ->> 'question'));
    if v_row.status = 'paused' then
      update private.runs set paused_from = 'waiting_user' where run_id = p_run;
    else
      update public.agent_runs set status = 'waiting_user' where id = p_run returning * into v_row;
      update private.runs set deadline_at = v_now + interval '30 days', held_at = v_now where run_id = p_run;
      v_logs := v_logs || private.run_event('waiting_user', v_phase, v_total);
    end if;
  end if;

  v_seq := private.add_logs(p_run, v_logs);
  if v_kind in ('complete', 'fail') then
    -- the last step of a paused run ends it all the same: there is nothing left to hold
    if v_kind = 'complete' and v_row.status = 'paused' then
      update public.agent_runs set status = 'executing' where id = p_run;
    end if;
    v_status := case v_kind when 'complete' then 'completed' else 'failed' end;
    v_seq := private.finish_run(p_run, v_status, v_next ->> 'code', v_next ->> 'message', v_next ->> 'result');
    v_publications := '[]';
  end if;
  return jsonb_build_object('committed', true, 'run_status', coalesce(v_status, v_row.status), 'publications', v_publications, 'log_seq', v_seq);
end
$$;

-- Publications of a run's steps that are due and were never claimed: what a lost publish left behind.
create function private.unclaimed(p_run uuid) returns jsonb language sql stable set search_path = '' as $$
  select coalesce(jsonb_agg(private.publication(q) order by q.step_number), '[]')
  from public.agent_task_queue q join private.steps s using (run_id, step_number)
  where q.run_id = p_run and s.fence = 0 and q.due_at <= clock_timestamp()
$$;
