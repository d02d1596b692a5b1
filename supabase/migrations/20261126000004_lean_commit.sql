-- A commit of the same meaning that costs less: each row of the run is written once, what was just written is not read again, and
-- the inner functions cost no planning of their own.

-- Bodies that are parsed here, not at each call: they depend on no search_path, and their callers' plans take them in.
create or replace function private.run_event(p_status text, p_phase integer, p_total integer) returns jsonb language sql stable
return jsonb_build_object('log_type', 'state_transition', 'message', 'Run is ' || p_status, 'event', 'run',
  'data', jsonb_build_object('status', p_status, 'current_phase', p_phase, 'total_phases', p_total));

create or replace function private.step_event(p_step uuid, p_tool text, p_status text) returns jsonb language sql stable
return jsonb_build_object(
  'log_type', case p_status when 'completed' then 'tool_success' when 'failed' then 'tool_error' else 'info' end,
  'message', p_tool || ' ' || p_status, 'event', 'step', 'step_id', p_step, 'data', jsonb_build_object('status', p_status));

-- Log rows numbered up to p_last, a microsecond apart up to p_time. The caller has raised the run's counter and its last time.
create function private.insert_logs(p_run uuid, p_user uuid, p_last bigint, p_time timestamptz, p_logs jsonb) returns void
language plpgsql set search_path = '' as $$
declare
  v_count integer := jsonb_array_length(p_logs);
begin
  insert into public.agent_task_logs (run_id, user_id, seq, log_type, message, metadata, created_at)
  select p_run, p_user, p_last - v_count + l.n, (l.e ->> 'log_type')::public.agent_log_type, l.e ->> 'message',
         jsonb_strip_nulls(jsonb_build_object('event', l.e -> 'event', 'step_id', l.e -> 'step_id', 'message_id', l.e -> 'message_id',
           'artifact_id', l.e -> 'artifact_id')) || case when l.e ? 'data' then jsonb_build_object('data', l.e -> 'data') else '{}' end,
         p_time - (v_count - l.n) * interval '1 microsecond'
  from jsonb_array_elements(p_logs) with ordinality as l (e, n);
end
$$;

-- When the newest of p_count log rows after p_last_log_at is written: times of a run's rows rise strictly.
create function private.log_time(p_last_log_at timestamptz, p_count integer) returns timestamptz language sql volatile
return greatest(clock_timestamp(), p_last_log_at + interval '1 microsecond') + (p_count - 1) * interval '1 microsecond';

create or replace function private.add_logs(p_run uuid, p_logs jsonb) returns bigint language plpgsql set search_path = '' as $$
declare
  v_count integer := jsonb_array_length(p_logs);
  v_run private.runs;
begin
  update private.runs set log_seq = log_seq + v_count, last_log_at = private.log_time(last_log_at, v_count)
  where run_id = p_run returning * into v_run;
  perform private.insert_logs(p_run, v_run.user_id, v_run.log_seq, v_run.last_log_at, p_logs);
  return v_run.log_seq;
end
$$;

-- The caller counts them. A result (role tool) answers p_call of p_tool where these are given: whose call it was is ours to know.
create function private.insert_messages(p_run uuid, p_user uuid, p_step_number integer, p_step uuid, p_call text, p_tool text, p_messages jsonb)
returns void language plpgsql set search_path = '' as $$
begin
  insert into public.agent_messages (id, run_id, user_id, step_id, step_number, role, content, tool_call_id, tool_name, attachments, metadata)
  select coalesce((m.e ->> 'id')::uuid, gen_random_uuid()), p_run, p_user, p_step, p_step_number, m.e ->> 'role', m.e ->> 'content',
         case when p_tool is not null and m.e ->> 'role' = 'tool' then p_call else m.e ->> 'tool_call_id' end,
         case when p_tool is not null and m.e ->> 'role' = 'tool' then p_tool else m.e ->> 'tool_name' end,
         coalesce(m.e -> 'attachments', '[]'),
         case when (m.e ->> 'is_error')::boolean then '{"is_error": true}' else '{}' end::jsonb
           || case when jsonb_typeof(m.e -> 'blocks') = 'array' then jsonb_build_object('blocks', m.e -> 'blocks') else '{}' end
  from jsonb_array_elements(p_messages) with ordinality as m (e, n) order by m.n;
end
$$;

create or replace function private.add_messages(p_run uuid, p_step_number integer, p_step uuid, p_messages jsonb) returns void
language plpgsql set search_path = '' as $$
declare
  v_user uuid;
begin
  update private.runs set messages = messages + jsonb_array_length(p_messages) where run_id = p_run returning user_id into v_user;
  perform private.insert_messages(p_run, v_user, p_step_number, p_step, null, null, p_messages);
end
$$;

-- Takes p_reserved from what is available and counts p_used as spent; false when there is not enough (then nothing changed).
create function private.move_credit(p_user uuid, p_reserved bigint, p_used bigint) returns boolean language plpgsql set search_path = '' as $$
begin
  if p_reserved = 0 and p_used = 0 then return true; end if;
  update public.credit_balances
  set available_credits = available_credits - p_reserved / 10000.0, used_credits = used_credits + p_used / 10000.0, updated_at = clock_timestamp()
  where user_id = p_user and available_credits >= p_reserved / 10000.0;
  return found;
end
$$;

-- Inserts steps numbered from p_first, with their reservations (the caller has taken the credit) and on the queue. p_due null: not due
-- before a later event, else now. Returns publications.
create function private.insert_steps(p_run private.runs, p_first integer, p_steps jsonb, p_due timestamptz) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_e jsonb;
  v_id uuid;
  v_number integer := p_first;
  v_publications jsonb := '[]';
begin
  for n in 0 .. jsonb_array_length(p_steps) - 1 loop
    v_e := p_steps -> n;
    v_id := gen_random_uuid();
    insert into public.agent_steps (id, run_id, user_id, step_number, phase_number, tool_type, tool_name, tool_input, idempotency_key)
    values (v_id, p_run.run_id, p_run.user_id, v_number, (v_e ->> 'phase_number')::integer, (v_e ->> 'tool_type')::public.agent_tool_type,
      v_e ->> 'tool_name', coalesce(v_e -> 'tool_input', '{}'), p_run.run_id || ':' || v_number);
    insert into private.steps (run_id, step_number, step_id, kind, tool_call_id, cost)
    values (p_run.run_id, v_number, v_id, v_e ->> 'kind', v_e ->> 'tool_call_id', (v_e ->> 'cost_units')::bigint);
    insert into private.credit_ledger (user_id, run_id, step_number, kind, available)
    values (p_run.user_id, p_run.run_id, v_number, 'reserve', -(v_e ->> 'cost_units')::bigint);
    insert into public.agent_task_queue (run_id, step_number, tenant_id, epoch, due_at, publish_at)
    values (p_run.run_id, v_number, p_run.tenant_id, p_run.epoch, coalesce(p_due, 'infinity'), p_due + interval '20 seconds');
    if p_due is not null then
      v_publications := v_publications || jsonb_build_object('run_id', p_run.run_id, 'step_number', v_number, 'epoch', p_run.epoch,
        'publication', 0, 'delay_seconds', 0);
    end if;
    v_number := v_number + 1;
  end loop;
  return v_publications;
end
$$;

create function private.cost_of(p_steps jsonb) returns bigint language plpgsql set search_path = '' as $$
declare
  v_cost bigint := 0;
begin
  for n in 0 .. jsonb_array_length(p_steps) - 1 loop
    v_cost := v_cost + (p_steps -> n ->> 'cost_units')::bigint;
  end loop;
  return v_cost;
end
$$;

create or replace function private.add_steps(p_run uuid, p_steps jsonb, p_due timestamptz) returns jsonb language plpgsql set search_path = '' as $$
declare
  v_run private.runs;
  v_count integer := jsonb_array_length(p_steps);
begin
  select * into v_run from private.runs where run_id = p_run;
  if not private.move_credit(v_run.user_id, private.cost_of(p_steps), 0) then return null; end if;
  update private.runs set next_step = next_step + v_count where run_id = p_run;
  update public.agent_runs set total_steps = total_steps + v_count where id = p_run;
  return private.insert_steps(v_run, v_run.next_step, p_steps, p_due);
end
$$;
drop function private.take_credit(uuid, bigint);

-- As before, with the run's two rows written once, at the end; what ends or holds the run writes its own.
create or replace function private.apply_commit(p_run uuid, p_step_number integer, c jsonb) returns jsonb language plpgsql set search_path = '' as $$
declare
  v_now timestamptz := clock_timestamp();
  v_run private.runs;
  v_row public.agent_runs;
  v_step private.steps;
  v_tool text;
  -- what the step had reserved: it is charged here, together with the reservation of what follows where there is one
  v_charged bigint;
  v_settled boolean := false;
  v_next jsonb := c -> 'next';
  v_kind text := v_next ->> 'kind';
  v_total integer;
  v_added integer := 0;
  v_logs jsonb := '[]';
  v_e jsonb;
  v_id uuid;
  v_bad text;
  v_publications jsonb := '[]';
  v_phase integer;
  v_status public.agent_run_status;
begin
  select * into v_run from private.runs where run_id = p_run;
  select * into v_row from public.agent_runs where id = p_run;
  select * into v_step from private.steps where run_id = p_run and step_number = p_step_number;

  if jsonb_array_length(c -> 'files' -> 'put') + jsonb_array_length(c -> 'files' -> 'removed') > 0 then
    -- Files: bytes verified in this attempt, or a hash of the run's own files; a foreign hash gives nobody a file.
    select f ->> 'path' into v_bad from jsonb_array_elements(c -> 'files' -> 'put') f
    where not (c -> 'verified' ? (f ->> 'sha256'))
      and not exists (select 1 from private.workspace_files w where w.run_id = p_run and w.sha256 = f ->> 'sha256') limit 1;
    if v_bad is not null then
      perform private.fail(400, 'invalid_request', 'File ' || v_bad || ' names bytes that were not verified');
    end if;
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

  v_charged := v_step.cost;
  if v_charged > 0 then
    insert into private.credit_ledger (user_id, run_id, step_number, kind, available, used)
    values (v_run.user_id, p_run, p_step_number, 'charge', 0, v_charged);
  end if;
  update public.agent_steps
  set status = (c ->> 'status')::public.agent_step_status, tool_output = case when jsonb_typeof(c -> 'output') = 'object' then c -> 'output' end,
      output_text = c ->> 'output_text', error_code = c ->> 'error_code', error_message = c ->> 'error_message',
      tokens_used = (c ->> 'tokens_used')::integer, credits_used = v_charged / 10000.0, started_at = coalesce(started_at, v_now),
      completed_at = v_now, duration_ms = extract(epoch from v_now - coalesce(started_at, v_now)) * 1000,
      retry_count = greatest(0, v_step.attempt - 1)
  where id = v_step.step_id returning tool_name into v_tool;
  update private.steps set state = 'done', token = null, lease_until = null where run_id = p_run and step_number = p_step_number;
  delete from public.agent_task_queue where run_id = p_run and step_number = p_step_number;

  -- a tool's result answers the call that made the step: its id is ours to know, not the writer's
  perform private.insert_messages(p_run, v_run.user_id, p_step_number, v_step.step_id, v_step.tool_call_id,
    case when v_step.kind = 'tool' then v_tool end, c -> 'messages');
  v_run.messages := v_run.messages + jsonb_array_length(c -> 'messages');
  for n in 0 .. jsonb_array_length(c -> 'messages') - 1 loop
    v_e := c -> 'messages' -> n;
    if v_e ->> 'role' = 'assistant' and v_e ->> 'content' <> '' then
      v_logs := v_logs || jsonb_build_object('log_type', 'info', 'message', left(v_e ->> 'content', 500), 'event', 'message',
        'message_id', v_e ->> 'id', 'step_id', v_step.step_id,
        'data', jsonb_build_object('kind', case when v_kind = 'complete' or v_step.kind = 'tool' then 'answer' else 'thinking' end));
    end if;
  end loop;
  for n in 0 .. jsonb_array_length(c -> 'logs') - 1 loop
    v_e := c -> 'logs' -> n;
    v_logs := v_logs || jsonb_strip_nulls(jsonb_build_object('log_type', v_e ->> 'log_type', 'message', v_e ->> 'message',
      'event', v_e ->> 'event', 'step_id', v_step.step_id, 'data', v_e -> 'data'));
  end loop;
  v_logs := v_logs || private.step_event(v_step.step_id, v_tool, c ->> 'status');
  for n in 0 .. jsonb_array_length(c -> 'artifacts') - 1 loop
    v_e := c -> 'artifacts' -> n;
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

  -- planning becomes executing with the plan, also below a pause
  if jsonb_typeof(c -> 'plan') = 'object' then
    if v_row.status = 'planning' then
      update public.agent_runs set status = 'executing' where id = p_run returning * into v_row;
      v_logs := v_logs || private.run_event('executing', v_phase, v_total);
    elsif v_row.status = 'paused' and v_run.paused_from = 'planning' then
      update private.runs set paused_from = 'executing' where run_id = p_run;
    end if;
  end if;

  if v_kind = 'group' then
    v_run.group_open := v_run.group_open - 1;
    if v_run.group_open = 0 then
      v_next := jsonb_build_object('kind', 'steps', 'steps', jsonb_build_array(
        v_next -> 'model_step' || jsonb_build_object('phase_number', v_phase)));
      v_kind := 'steps';
    end if;
  end if;
  if v_kind in ('steps', 'wait_user') then
    v_added := jsonb_array_length(v_next -> 'steps');
    if v_run.next_step + v_added > v_run.max_steps then
      v_kind := 'fail';
      v_next := jsonb_build_object('code', 'STEP_LIMIT', 'message', 'The run reached its limit of ' || v_run.max_steps || ' steps.');
      v_added := 0;
    else
      v_settled := private.move_credit(v_run.user_id, private.cost_of(v_next -> 'steps'), v_charged);
      if not v_settled then
        v_kind := 'fail';
        v_next := jsonb_build_object('code', 'INSUFFICIENT_CREDITS', 'message', 'Insufficient credits to continue.');
        v_added := 0;
      else
        v_publications := private.insert_steps(v_run, v_run.next_step, v_next -> 'steps',
          case when v_kind = 'wait_user' or v_row.status = 'paused' then null else v_now end);
        if v_next -> 'steps' -> 0 ->> 'kind' = 'tool' then
          v_run.group_open := v_added;
        end if;
      end if;
    end if;
  end if;
  if not v_settled then
    perform private.move_credit(v_run.user_id, 0, v_charged);
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

  v_run.log_seq := v_run.log_seq + jsonb_array_length(v_logs);
  v_run.last_log_at := private.log_time(v_run.last_log_at, jsonb_array_length(v_logs));
  perform private.insert_logs(p_run, v_run.user_id, v_run.log_seq, v_run.last_log_at, v_logs);
  update private.runs
  set next_step = v_run.next_step + v_added, group_open = v_run.group_open, messages = v_run.messages, log_seq = v_run.log_seq,
      last_log_at = v_run.last_log_at
  where run_id = p_run;
  update public.agent_runs
  set completed_steps = completed_steps + (c ->> 'status' = 'completed')::integer, failed_steps = failed_steps + (c ->> 'status' = 'failed')::integer,
      total_steps = total_steps + v_added, total_tokens_used = total_tokens_used + (c ->> 'tokens_used')::bigint,
      total_credits_used = total_credits_used + v_charged / 10000.0, current_phase = v_phase
  where id = p_run;
  if v_kind in ('complete', 'fail') then
    -- the last step of a paused run ends it all the same: there is nothing left to hold
    if v_kind = 'complete' and v_row.status = 'paused' then
      update public.agent_runs set status = 'executing' where id = p_run;
    end if;
    v_status := case v_kind when 'complete' then 'completed' else 'failed' end;
    v_run.log_seq := private.finish_run(p_run, v_status, v_next ->> 'code', v_next ->> 'message', v_next ->> 'result');
    v_publications := '[]';
  end if;
  return jsonb_build_object('committed', true, 'run_status', coalesce(v_status, v_row.status), 'publications', v_publications,
    'log_seq', v_run.log_seq);
end
$$;

-- One unique index says both: a step is reserved once, and charged or refunded once.
create unique index credit_ledger_step on private.credit_ledger (run_id, step_number, (kind = 'reserve')) where run_id is not null;
drop index private.credit_ledger_once, private.credit_ledger_settled;

-- A lease that changes is no change of this index, so that a claim's update stays on its page.
create index steps_unsettled on private.steps (run_id) where state = 'settling';
drop index private.steps_settling;

grant create on schema private to agent_engine;
do $$
declare
  v_name text;
begin
  foreach v_name in array array['insert_logs(uuid, uuid, bigint, timestamptz, jsonb)', 'log_time(timestamptz, integer)',
    'insert_messages(uuid, uuid, integer, uuid, text, text, jsonb)', 'move_credit(uuid, bigint, bigint)',
    'insert_steps(private.runs, integer, jsonb, timestamptz)', 'cost_of(jsonb)'] loop
    execute 'alter function private.' || v_name || ' owner to agent_engine';
    execute 'revoke all on function private.' || v_name || ' from public, anon, authenticated, service_role';
  end loop;
end
$$;
revoke create on schema private from agent_engine;
