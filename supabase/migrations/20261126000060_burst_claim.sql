-- A commit of a burst writes the step that follows as one that is claimed already, instead of claiming it with a second look at
-- everything: the same rows and the same answer for half of the statements.

-- What a claim hands to its holder.
create function private.claimed(p_run private.runs, p_row public.agent_runs, p_step private.steps, p_visible public.agent_steps,
  p_wait private.waits, p_lease integer) returns jsonb language plpgsql stable set search_path = '' as $$
begin
  return jsonb_build_object(
    'log_seq', p_run.log_seq,
    'step', jsonb_build_object('run_id', p_run.run_id, 'step_number', p_step.step_number, 'step_id', p_step.step_id, 'epoch', p_run.epoch, 'fence', p_step.fence,
      'token', p_step.token, 'attempt', p_step.attempt, 'lease_seconds', p_lease, 'kind', p_step.kind, 'tool_type', p_visible.tool_type,
      'tool_name', p_visible.tool_name, 'tool_input', p_visible.tool_input, 'tool_call_id', p_step.tool_call_id,
      'phase_number', p_visible.phase_number, 'last_error', p_step.last_error,
      'job', case when p_wait.kind = 'job' then jsonb_build_object('name', p_wait.job_name, 'confirmed', p_wait.confirmed_at is not null,
        'deadline_at', p_wait.deadline_at, 'past_deadline', p_wait.deadline_at <= clock_timestamp()) end),
    'run', jsonb_build_object('id', p_run.run_id, 'user_id', p_run.user_id, 'tenant_id', p_run.tenant_id, 'prompt', p_row.prompt, 'mode', p_row.mode,
      'status', p_row.status, 'plan', p_row.plan, 'current_phase', p_row.current_phase, 'next_step', p_run.next_step,
      'limits', p_row.config -> 'limits', 'memory_context', p_row.config ->> 'memory_context', 'created_at', p_row.created_at,
      'timeout_at', p_row.timeout_at),
    'conversation', case when p_step.kind = 'model' then private.conversation(p_run.run_id) else '[]' end,
    'messages', p_run.messages,
    'workspace', jsonb_build_object('files', p_run.files, 'bytes', p_run.bytes, 'complete', p_run.files <= 200, 'entries', (
      select coalesce(jsonb_agg(jsonb_build_object('path', f.path, 'sha256', f.sha256, 'size', f.size, 'mode', f.mode) order by f.path), '[]')
      from (select * from private.workspace_files where run_id = p_run.run_id and to_step is null order by path limit 200) f)));
end
$$;

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
    return jsonb_build_object('refused', 'leased', 'retry_after_seconds', extract(epoch from v_step.lease_until - v_now), 'publications', '[]'::jsonb);
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

  return jsonb_build_object('claim', private.claimed(v_run, v_row, v_step, v_visible, v_wait, v_lease));
end
$$;

-- As before; with p_lease they are claimed for so many seconds by whoever writes them: an attempt has begun, and the sweeper looks
-- after them when it is over.
drop function private.insert_steps(private.runs, integer, jsonb, timestamptz);
create function private.insert_steps(p_run private.runs, p_first integer, p_steps jsonb, p_due timestamptz, p_lease integer) returns jsonb
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
    insert into public.agent_steps (id, run_id, user_id, step_number, phase_number, tool_type, tool_name, tool_input, idempotency_key,
      status, started_at)
    values (v_id, p_run.run_id, p_run.user_id, v_number, (v_e ->> 'phase_number')::integer, (v_e ->> 'tool_type')::public.agent_tool_type,
      v_e ->> 'tool_name', coalesce(v_e -> 'tool_input', '{}'), p_run.run_id || ':' || v_number,
      case when p_lease is null then 'pending' else 'running' end::public.agent_step_status, case when p_lease is not null then p_due end);
    insert into private.steps (run_id, step_number, step_id, kind, tool_call_id, cost, attempt, fence, token, lease_until)
    values (p_run.run_id, v_number, v_id, v_e ->> 'kind', v_e ->> 'tool_call_id', (v_e ->> 'cost_units')::bigint,
      (p_lease is not null)::integer, (p_lease is not null)::integer, case when p_lease is not null then gen_random_uuid() end,
      p_due + p_lease * interval '1 second');
    insert into private.credit_ledger (user_id, run_id, step_number, kind, available)
    values (p_run.user_id, p_run.run_id, v_number, 'reserve', -(v_e ->> 'cost_units')::bigint);
    insert into public.agent_task_queue (run_id, step_number, tenant_id, epoch, due_at, publish_at)
    values (p_run.run_id, v_number, p_run.tenant_id, p_run.epoch, coalesce(p_due, 'infinity'), p_due + coalesce(p_lease + 2, 20) * interval '1 second');
    if p_due is not null then
      v_publications := v_publications || jsonb_build_object('run_id', p_run.run_id, 'step_number', v_number, 'epoch', p_run.epoch,
        'publication', 0, 'delay_seconds', 0);
    end if;
    v_number := v_number + 1;
  end loop;
  return v_publications;
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
  return private.insert_steps(v_run, v_run.next_step, p_steps, p_due, null);
end
$$;

-- As before. p_burst: {lease_seconds, inline_tools, protocol?} of an invocation that can go on: when exactly one step becomes due and it
-- is one that this invocation can carry out (it asks the model or runs a tool inline), the answer has its claim, and nothing is to be
-- published: should its holder die, its lease ends and the sweeper publishes it.
create function private.apply_commit(p_run uuid, p_step_number integer, c jsonb, p_burst jsonb) returns jsonb language plpgsql set search_path = '' as $$
declare
  v_now timestamptz := clock_timestamp();
  v_run private.runs;
  v_row public.agent_runs;
  v_step private.steps;
  -- of a burst: the step that follows, when it is claimed with this commit, and for how many seconds
  v_claimed private.steps;
  v_visible public.agent_steps;
  v_lease integer;
  v_due timestamptz;
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
  v_answer jsonb;
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
    where run_id = p_run returning files, bytes into v_run.files, v_run.bytes;
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
      completed_at = v_now, duration_ms = least(extract(epoch from v_now - coalesce(started_at, v_now)) * 1000, 2147483647),
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
  if v_kind in ('steps', 'wait_user', 'wait_approval') then
    v_added := jsonb_array_length(v_next -> 'steps');
    if v_run.next_step + v_added > v_run.max_steps then
      v_kind := 'fail';
      v_next := jsonb_build_object('code', 'STEP_LIMIT', 'message', 'The run reached its limit of ' || v_run.max_steps || ' steps. Its messages and files are kept: fork it to go on from there, or start a run with a smaller task.');
      v_added := 0;
    else
      v_settled := private.move_credit(v_run.user_id, private.cost_of(v_next -> 'steps'), v_charged);
      if not v_settled then
        v_kind := 'fail';
        v_next := jsonb_build_object('code', 'INSUFFICIENT_CREDITS', 'message', 'Insufficient credits to continue. The messages and files of the run are kept: fork it to go on from there when there is credit again.');
        v_added := 0;
      else
        v_due := case when v_kind <> 'steps' or v_row.status = 'paused' then null else v_now end;
        if p_burst is not null and v_due is not null and v_added = 1 and v_run.protocol <= coalesce((p_burst ->> 'protocol')::integer, 1)
          and (v_next -> 'steps' -> 0 ->> 'kind' = 'model' or p_burst -> 'inline_tools' ? (v_next -> 'steps' -> 0 ->> 'tool_name'))
          and not exists (select 1 from private.switches w where (w.tenant_id is null or w.tenant_id = v_run.tenant_id)
            and (w.tool_name is null or w.tool_name = v_next -> 'steps' -> 0 ->> 'tool_name')) then
          v_lease := (p_burst ->> 'lease_seconds')::integer;
        end if;
        v_publications := private.insert_steps(v_run, v_run.next_step, v_next -> 'steps', v_due, v_lease);
        if v_lease is not null then
          select * into v_claimed from private.steps where run_id = p_run and step_number = v_run.next_step;
          select * into v_visible from public.agent_steps where id = v_claimed.step_id;
          v_logs := v_logs || private.step_event(v_claimed.step_id, v_visible.tool_name, 'running');
        end if;
        if v_next -> 'steps' -> 0 ->> 'kind' = 'tool' then
          v_run.group_open := v_added;
        end if;
      end if;
    end if;
  end if;
  if not v_settled then
    perform private.move_credit(v_run.user_id, 0, v_charged);
  end if;

  if v_kind in ('wait_user', 'wait_approval') then
    insert into private.waits (run_id, step_number, kind, deadline_at)
    values (p_run, v_run.next_step, 'user', v_now + interval '30 days');
    v_e := jsonb_build_object('question', v_next -> 'question');
    if v_kind = 'wait_approval' then
      v_e := v_e || jsonb_build_object('approvals', private.ask_approvals(p_run, v_run.next_step, v_next -> 'steps'));
    end if;
    v_logs := v_logs || jsonb_build_object('log_type', 'user_input_required', 'message', v_next ->> 'question', 'event', 'user_input_required',
      'step_id', v_step.step_id, 'data', v_e);
    if v_row.status = 'paused' then
      update private.runs set paused_from = 'waiting_user' where run_id = p_run;
    else
      update public.agent_runs set status = 'waiting_user' where id = p_run returning * into v_row;
      update private.runs set deadline_at = v_now + interval '30 days', held_at = v_now where run_id = p_run;
      v_logs := v_logs || private.run_event('waiting_user', v_phase, v_total);
    end if;
  end if;

  v_run.next_step := v_run.next_step + v_added;
  v_run.log_seq := v_run.log_seq + jsonb_array_length(v_logs);
  v_run.last_log_at := private.log_time(v_run.last_log_at, jsonb_array_length(v_logs));
  perform private.insert_logs(p_run, v_run.user_id, v_run.log_seq, v_run.last_log_at, v_logs);
  update private.runs
  set next_step = v_run.next_step, group_open = v_run.group_open, messages = v_run.messages, log_seq = v_run.log_seq,
      last_log_at = v_run.last_log_at
  where run_id = p_run;
  update public.agent_runs
  set completed_steps = completed_steps + (c ->> 'status' = 'completed')::integer, failed_steps = failed_steps + (c ->> 'status' = 'failed')::integer,
      total_steps = total_steps + v_added, total_tokens_used = total_tokens_used + (c ->> 'tokens_used')::bigint,
      total_credits_used = total_credits_used + v_charged / 10000.0, current_phase = v_phase,
      current_step_id = coalesce(v_claimed.step_id, current_step_id)
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
  v_answer := jsonb_build_object('committed', true, 'run_status', coalesce(v_status, v_row.status), 'publications', v_publications,
    'log_seq', v_run.log_seq);
  if v_lease is null then return v_answer; end if;
  v_row.current_phase := v_phase;
  return v_answer || jsonb_build_object('publications', '[]'::jsonb, 'claim', private.claimed(v_run, v_row, v_claimed, v_visible, null, v_lease));
end
$$;

create or replace function private.apply_commit(p_run uuid, p_step_number integer, c jsonb) returns jsonb language sql
return private.apply_commit(p_run, p_step_number, c, null);

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
  v_answer := private.apply_commit(v_step.run_id, v_step.step_number, p -> 'commit', nullif(p -> 'burst', 'null'));
  if v_tenant is not null then
    v_answer := v_answer || jsonb_build_object('publications', (v_answer -> 'publications') || private.called_up(v_tenant));
  end if;
  return v_answer;
end
$$;

drop function private.claim_next(uuid, jsonb, jsonb);

grant create on schema private to agent_engine;
do $$
declare
  v_name text;
begin
  foreach v_name in array array['insert_steps(private.runs, integer, jsonb, timestamptz, integer)', 'apply_commit(uuid, integer, jsonb, jsonb)',
    'claimed(private.runs, public.agent_runs, private.steps, public.agent_steps, private.waits, integer)'] loop
    execute 'alter function private.' || v_name || ' owner to agent_engine';
    execute 'revoke all on function private.' || v_name || ' from public, anon, authenticated, service_role';
  end loop;
end
$$;
revoke create on schema private from agent_engine;
