-- A copied step keeps its price: a fork of a fork that does it anew pays for it. (With the price 0 of a copy it did not.) The copy
-- itself is done and costs nothing; only the line that copies private.steps differs from the function before.
create or replace function private.fork_run(p_user uuid, p_tenant uuid, p_run uuid, p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_now timestamptz := clock_timestamp();
  v_new uuid := private.replay(p_user, p -> 'idempotency');
  v_from integer := (p ->> 'from_step')::integer;
  v_message text := nullif(p ->> 'message', '');
  v_timeout integer := (p -> 'limits' ->> 'timeout_seconds')::integer;
  v_max integer := (p -> 'limits' ->> 'max_steps')::integer;
  v_row public.agent_runs;
  v_step private.steps;
  v_visible public.agent_steps;
  v_first bigint;
  v_last integer;
  v_plan jsonb;
  v_steps jsonb;
  v_publications jsonb;
begin
  if v_new is not null then
    return private.run_answer(v_new, private.unclaimed(v_new)) || '{"replayed": true}';
  end if;
  -- nothing of the run may move or be deleted while it is copied
  perform 1 from private.runs where run_id = p_run for share;
  if not found then
    perform private.fail(400, 'invalid_state', 'This run cannot be forked: it was made by an earlier version or is just being deleted');
  end if;
  select * into v_row from public.agent_runs where id = p_run;
  select * into v_step from private.steps where run_id = p_run and step_number = v_from;
  if not found then
    perform private.fail(400, 'invalid_request', 'The run has no step ' || v_from);
  end if;
  select * into v_visible from public.agent_steps where id = v_step.step_id;
  if exists (select 1 from public.agent_steps where run_id = p_run and step_number < v_from and status not in ('completed', 'failed')) then
    perform private.fail(400, 'invalid_state', 'Cannot fork at step ' || v_from || ': a step before it has not come to its end');
  end if;
  if v_step.kind = 'tool' and v_message is not null then
    perform private.fail(400, 'invalid_request', 'Step ' || v_from || ' is a tool call: a message can only come before a step that asks the model');
  end if;
  if v_message is null and exists (select 1 from private.waits where run_id = p_run and step_number = v_from and kind = 'user') then
    perform private.fail(400, 'invalid_state', 'Step ' || v_from || ' waits for an answer: fork it with a message');
  end if;

  v_last := case v_step.kind when 'model' then v_from else coalesce((select min(step_number) - 1 from private.steps
    where run_id = p_run and step_number > v_from and kind = 'model'), (select max(step_number) from private.steps where run_id = p_run)) end;
  select jsonb_agg(jsonb_build_object('kind', s.kind, 'tool_type', v.tool_type, 'tool_name', v.tool_name, 'tool_input', v.tool_input,
      'tool_call_id', s.tool_call_id, 'phase_number', v.phase_number, 'cost_units', s.cost) order by s.step_number)
  into v_steps from private.steps s join public.agent_steps v on v.id = s.step_id
  where s.run_id = p_run and s.step_number between v_from and v_last;
  select tool_output -> 'plan' into v_plan from public.agent_steps
  where run_id = p_run and step_number < v_from and tool_name in ('plan', 'replan') and status = 'completed' order by step_number desc limit 1;
  select min(position) into v_first from public.agent_messages where run_id = p_run and step_number = 0;

  v_new := gen_random_uuid();
  -- with a plan there is nothing to queue for: the run goes on executing, as planning ends with a commit that it will not make
  insert into public.agent_runs (id, user_id, tenant_id, project_id, prompt, mode, config, status, plan, plan_version, estimated_credits,
    current_phase, total_steps, completed_steps, failed_steps, created_at, timeout_at, metadata, tags)
  select v_new, p_user, p_tenant, v_row.project_id, case when v_from = 0 then coalesce(v_message, v_row.prompt) else v_row.prompt end, v_row.mode,
    jsonb_build_object('limits', p -> 'limits', 'memory_context', v_row.config -> 'memory_context'),
    case when v_plan is null then 'queued' else 'executing' end::public.agent_run_status, v_plan, (v_plan is not null)::integer,
    (v_plan ->> 'total_estimated_credits')::numeric, v_visible.phase_number, v_from, count(*) filter (where status = 'completed'),
    count(*) filter (where status = 'failed'), v_now, v_now + v_timeout * interval '1 second',
    v_row.metadata - 'retry_of' || jsonb_build_object('fork_of', p_run, 'fork_step', v_from), v_row.tags
  from public.agent_steps where run_id = p_run and step_number < v_from;
  -- the limit is for the steps it takes itself
  insert into private.runs (run_id, user_id, tenant_id, next_step, max_steps, timeout_seconds, deadline_at)
  values (v_new, p_user, p_tenant, v_from, v_from + v_max, v_timeout, v_now + v_timeout * interval '1 second');
  insert into public.agent_run_connectors (run_id, connector_id, user_id)
  select v_new, connector_id, p_user from public.agent_run_connectors where run_id = p_run;

  insert into public.agent_steps (run_id, user_id, step_number, phase_number, tool_type, tool_name, tool_input, status, tool_output, output_text,
    created_at, started_at, completed_at, duration_ms, error_message, error_code, retry_count, idempotency_key, metadata)
  select v_new, p_user, step_number, phase_number, tool_type, tool_name, tool_input, status, tool_output, output_text,
    created_at, started_at, completed_at, duration_ms, error_message, error_code, retry_count, v_new || ':' || step_number,
    metadata || jsonb_build_object('copy_of', id)
  from public.agent_steps where run_id = p_run and step_number < v_from;
  insert into private.steps (run_id, step_number, step_id, kind, tool_call_id, state, attempt, cost)
  select v_new, o.step_number, n.id, o.kind, o.tool_call_id, 'done', o.attempt, o.cost
  from private.steps o join public.agent_steps n on n.run_id = v_new and n.step_number = o.step_number where o.run_id = p_run;

  -- What a user said before the step (no step wrote it) stays, unless it is what the new message replaces; a prompt keeps its files.
  insert into public.agent_messages (run_id, user_id, step_id, step_number, role, content, tool_call_id, tool_name, attachments, metadata, created_at)
  select v_new, p_user, n.id, m.step_number, m.role,
    case when v_from = 0 and m.position = v_first then coalesce(v_message, m.content) else m.content end,
    m.tool_call_id, m.tool_name, m.attachments, m.metadata, m.created_at
  from public.agent_messages m left join public.agent_steps o on o.id = m.step_id
  left join public.agent_steps n on n.run_id = v_new and n.step_number = o.step_number
  where m.run_id = p_run and (m.step_number < v_from
    or (m.step_number = v_from and m.step_id is null and (v_message is null or m.position = v_first)))
  order by m.step_number, m.position;
  update private.runs set messages = (select count(*) from public.agent_messages where run_id = v_new) where run_id = v_new;
  if v_message is not null and v_from > 0 then
    perform private.add_messages(v_new, v_from, null, jsonb_build_array(jsonb_build_object('role', 'user', 'content', v_message)));
  end if;

  -- Members of a group commit in any order, so that two versions can stand at one number: the later member's is the file.
  insert into private.workspace_files (run_id, path, from_step, to_step, sha256, size, mode)
  select v_new, path, from_step, case when to_step < v_from then to_step
      else lead(from_step) over (partition by path, to_step is null or to_step >= v_from order by from_step) end, sha256, size, mode
  from private.workspace_files where run_id = p_run and from_step < v_from;
  update private.runs set (files, bytes) = (select count(*), coalesce(sum(size), 0) from private.workspace_files where run_id = v_new and to_step is null)
  where run_id = v_new;

  v_publications := private.add_steps(v_new, v_steps, v_now);
  if v_publications is null then
    perform private.fail(402, 'insufficient_credits', 'Insufficient credits');
  end if;
  if v_step.kind = 'tool' then
    update private.runs set group_open = jsonb_array_length(v_steps) where run_id = v_new;
  end if;
  perform private.add_logs(v_new, jsonb_build_array(
    private.run_event(case when v_plan is null then 'queued' else 'executing' end, v_visible.phase_number, coalesce(jsonb_array_length(v_plan -> 'phases'), 0)),
    jsonb_build_object('log_type', 'info', 'message', 'Forked at step ' || v_from || ' of run ' || p_run, 'event', 'fork',
      'data', jsonb_build_object('run_id', p_run, 'step_number', v_from))));
  if jsonb_typeof(p -> 'idempotency') = 'object' then
    begin
      insert into private.idempotency_keys (user_id, key, body_sha256, run_id)
      values (p_user, p -> 'idempotency' ->> 'key', p -> 'idempotency' ->> 'body_sha256', v_new);
    exception when unique_violation then
      perform private.fail(503, 'unavailable', 'The same request is being answered');
    end;
  end if;
  return private.run_answer(v_new, v_publications) || '{"replayed": false}';
end
$$;

