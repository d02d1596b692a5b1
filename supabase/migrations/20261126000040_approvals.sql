-- Approvals: a tool call that needs its user's yes. The whole group of such a call waits, with its run in `waiting_user`, until each
-- call that was asked about is allowed or denied; then the allowed ones are due, and a denied one is a failed step that the model reads.

create table private.approvals (
  id uuid primary key default gen_random_uuid(),
  run_id uuid not null,
  -- the step's input is written once, so that the answer is about exactly these arguments
  step_number integer not null,
  asked_at timestamptz not null default clock_timestamp(),
  answered_at timestamptz,
  approved boolean,
  -- what the user said with a no; the model reads it
  reason text,
  unique (run_id, step_number),
  foreign key (run_id, step_number) references private.steps (run_id, step_number) on delete cascade,
  check ((answered_at is null) = (approved is null))
);
grant select, insert, update, delete on private.approvals to agent_engine;

-- What a run asks its user to allow, oldest call first.
create function private.open_approvals(p_run uuid) returns jsonb language sql stable set search_path = '' as $$
  select coalesce(jsonb_agg(jsonb_build_object('approval_id', a.id, 'step_number', a.step_number, 'step_id', v.id, 'tool_name', v.tool_name,
    'tool_input', v.tool_input, 'asked_at', a.asked_at) order by a.step_number), '[]')
  from private.approvals a join private.steps s using (run_id, step_number) join public.agent_steps v on v.id = s.step_id
  where a.run_id = p_run and a.answered_at is null and s.state = 'open'
$$;

-- Asks about those of the steps from `p_first` on that need it. Returns what the log says of each; the input stands in the step's row.
create function private.ask_approvals(p_run uuid, p_first integer, p_steps jsonb) returns jsonb language plpgsql set search_path = '' as $$
begin
  insert into private.approvals (run_id, step_number)
  select p_run, p_first + n::integer - 1 from jsonb_array_elements(p_steps) with ordinality as s (e, n)
  where (e ->> 'needs_approval')::boolean;
  return (select jsonb_agg(a - 'tool_input' - 'asked_at' order by n) from jsonb_array_elements(private.open_approvals(p_run)) with ordinality as o (a, n));
end
$$;

-- Ends the denied calls that are still open, each with a result for the model and its cost given back.
create function private.commit_denied(p_run uuid) returns void language plpgsql set search_path = '' as $$
declare
  v_step record;
  v_text text;
begin
  for v_step in
    select a.step_number, a.reason, v.tool_name from private.approvals a join private.steps s using (run_id, step_number)
    join public.agent_steps v on v.id = s.step_id
    where a.run_id = p_run and not a.approved and s.state = 'open' order by a.step_number
  loop
    v_text := 'The user did not allow this call' || coalesce(': ' || v_step.reason, '.');
    perform private.settle_step(p_run, v_step.step_number, false);
    update private.steps set cost = 0 where run_id = p_run and step_number = v_step.step_number;
    perform private.apply_commit(p_run, v_step.step_number, jsonb_build_object('status', 'failed', 'output', null,
      'output_text', null, 'error_code', 'APPROVAL_DENIED', 'error_message', v_text, 'tokens_used', 0, 'artifacts', '[]'::jsonb, 'logs', '[]'::jsonb, 'files', '{"put": [], "removed": []}'::jsonb, 'verified', '[]'::jsonb, 'plan', null, 'current_phase', null,
      'messages', jsonb_build_array(jsonb_build_object('role', 'tool', 'content', v_text, 'is_error', true)),
      'next', jsonb_build_object('kind', 'group', 'model_step', jsonb_build_object('kind', 'model', 'tool_type', 'plan',
        'tool_name', 'decide', 'tool_input', '{}'::jsonb, 'tool_call_id', null, 'cost_units', private.model_step_cost(p_run)))));
  end loop;
end
$$;

-- The price of the run's next model step: that of its last one.
create function private.model_step_cost(p_run uuid) returns bigint language sql stable set search_path = '' as $$
  select cost from private.steps where run_id = p_run and kind = 'model' order by step_number desc limit 1
$$;

-- A held run goes on: its time is added to what it may take, and what is idle becomes due. Returns its publications.
create function private.continue_run(p_run uuid, p_to public.agent_run_status, p_logs jsonb) returns jsonb language plpgsql set search_path = '' as $$
declare
  v_now timestamptz := clock_timestamp();
  v_held timestamptz;
  v_row public.agent_runs;
  v_publications jsonb;
begin
  select held_at into v_held from private.runs where run_id = p_run;
  update public.agent_runs set status = p_to, timeout_at = timeout_at + (v_now - coalesce(v_held, v_now)) where id = p_run returning * into v_row;
  delete from private.waits where run_id = p_run and kind = 'user';
  update private.runs set paused_from = null, held_at = null, deadline_at = v_row.timeout_at where run_id = p_run;
  perform private.add_logs(p_run, p_logs || private.run_event(p_to::text, v_row.current_phase, coalesce(jsonb_array_length(v_row.plan -> 'phases'), 0)));
  perform private.commit_denied(p_run);
  with woken as (
    update public.agent_task_queue q
    set due_at = least(q.due_at, v_now), publication = q.publication + 1, publish_at = v_now + interval '20 seconds'
    where q.run_id = p_run and private.is_idle(q.run_id, q.step_number)
    returning q.*
  )
  select coalesce(jsonb_agg(private.publication(w::public.agent_task_queue) order by w.step_number), '[]') into v_publications from woken w;
  return v_publications;
end
$$;

create or replace function private.resume_run(p_run uuid, p_input text) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_now timestamptz;
  v_run private.runs;
  v_row public.agent_runs;
  v_to public.agent_run_status;
  v_input text := nullif(p_input, '');
  v_message uuid := gen_random_uuid();
  v_number integer;
  v_logs jsonb := '[]';
  v_publications jsonb := '[]';
begin
  select * into v_run from private.runs where run_id = p_run for update;
  v_now := clock_timestamp();
  select * into v_row from public.agent_runs where id = p_run;
  if v_row.status not in ('waiting_user', 'paused') then
    perform private.fail(400, 'invalid_state', 'Cannot resume run in status: ' || v_row.status);
  end if;
  if v_row.status = 'waiting_user' and v_input is null and private.open_approvals(p_run) <> '[]' then
    perform private.fail(400, 'invalid_state', 'This run waits for an approval: approve or deny it, or resume with an input that answers instead');
  end if;
  v_to := case when v_row.status = 'paused' then v_run.paused_from else 'executing' end;
  -- a question is answered by input; resuming a pause without any goes back to waiting for it
  if v_to = 'waiting_user' and v_input is not null then
    v_to := 'executing';
    update public.agent_runs set status = 'waiting_user' where id = p_run;
  end if;
  if v_to <> 'waiting_user' then
    -- what was asked about and is answered with words instead is not allowed
    update private.approvals set answered_at = v_now, approved = false, reason = 'They answered with a message instead.'
    where run_id = p_run and answered_at is null;
  end if;
  if v_input is not null or v_row.status = 'waiting_user' then
    select min(step_number) into v_number from private.steps where run_id = p_run and state = 'open' and kind = 'model';
    perform private.add_messages(p_run, coalesce(v_number, v_run.next_step), null, jsonb_build_array(jsonb_build_object(
      'id', v_message, 'role', 'user', 'content', coalesce(v_input, 'Please continue.'))));
    v_logs := jsonb_build_array(jsonb_build_object('log_type', 'info', 'message', 'Message from the user', 'event', 'message',
      'message_id', v_message, 'data', jsonb_build_object('kind', 'user')));
  end if;
  if v_to = 'waiting_user' then
    update public.agent_runs set status = v_to, timeout_at = timeout_at + (v_now - coalesce(v_run.held_at, v_now)) where id = p_run;
    -- what was held so far has been added to its time
    update private.runs set paused_from = null, held_at = v_now where run_id = p_run;
    perform private.add_logs(p_run, v_logs || private.run_event(v_to::text, v_row.current_phase, coalesce(jsonb_array_length(v_row.plan -> 'phases'), 0)));
  else
    v_publications := private.continue_run(p_run, v_to, v_logs);
  end if;
  return private.run_answer(p_run, v_publications);
end
$$;

-- p: {approval_id, approved, message}. The last answer lets the run go on; a repeat of an answer changes nothing.
create function private.answer_approval(p_run uuid, p jsonb) returns jsonb language plpgsql set search_path = '' as $$
declare
  v_now timestamptz;
  v_row public.agent_runs;
  v_approval private.approvals;
  v_approved boolean := (p ->> 'approved')::boolean;
  v_step public.agent_steps;
  v_logs jsonb;
  v_publications jsonb := '[]';
begin
  perform 1 from private.runs where run_id = p_run for update;
  v_now := clock_timestamp();
  select * into v_row from public.agent_runs where id = p_run;
  select * into v_approval from private.approvals where run_id = p_run and id = (p ->> 'approval_id')::uuid;
  if not found then
    perform private.fail(404, 'not_found', 'Approval not found');
  end if;
  if v_approval.approved = v_approved then
    return private.run_answer(p_run, case when v_row.status = 'paused' then '[]' else private.unclaimed(p_run) end);
  elsif v_approval.answered_at is not null then
    perform private.fail(409, 'already_answered', case when v_approval.approved then 'This call was allowed before' else 'This call was denied before' end);
  elsif v_row.status not in ('waiting_user', 'paused') then
    perform private.fail(400, 'invalid_state', 'Cannot answer an approval of a run in status: ' || v_row.status);
  end if;
  update private.approvals set answered_at = v_now, approved = v_approved, reason = case when not v_approved then nullif(p ->> 'message', '') end
  where id = v_approval.id;
  select v.* into v_step from private.steps s join public.agent_steps v on v.id = s.step_id
  where s.run_id = p_run and s.step_number = v_approval.step_number;
  v_logs := jsonb_build_array(jsonb_build_object('log_type', 'info', 'message',
    case when v_approved then 'Allowed: ' else 'Denied: ' end || v_step.tool_name, 'event', 'approval', 'step_id', v_step.id,
    'data', jsonb_build_object('approval_id', v_approval.id, 'approved', v_approved)));
  if private.open_approvals(p_run) = '[]' then
    if v_row.status = 'waiting_user' then
      v_publications := private.continue_run(p_run, 'executing', v_logs);
    else
      -- paused meanwhile: a resume goes on with the work, and no longer to the question
      update private.runs set paused_from = 'executing' where run_id = p_run;
      delete from private.waits where run_id = p_run and kind = 'user';
      perform private.add_logs(p_run, v_logs);
      perform private.commit_denied(p_run);
    end if;
  else
    perform private.add_logs(p_run, v_logs);
  end if;
  return private.run_answer(p_run, v_publications);
end
$$;

create function public.agent_answer_approval(p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_run uuid := (private.own_run(p)).id;
begin
  return private.answer_approval(v_run, p);
end
$$;

-- A fork does its step anew without asking: not where the calls of the group were asked about.
create function private.refuse_unasked(p_run uuid, p_step integer) returns void language plpgsql set search_path = '' as $$
begin
  if exists (select 1 from private.approvals a where a.run_id = p_run and a.step_number >= p_step and not exists (
      select 1 from private.steps m where m.run_id = p_run and m.kind = 'model' and m.step_number between p_step and a.step_number)) then
    perform private.fail(400, 'invalid_state', 'Step ' || p_step || ' belongs to calls that need an approval: fork at the step that asked the model before it');
  end if;
end
$$;

create or replace function public.agent_fork_run(p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_run public.agent_runs := private.own_run(p);
begin
  perform private.refuse_unasked(v_run.id, (p ->> 'from_step')::integer);
  return private.fork_run(v_run.user_id, private.tenant_of(p -> 'principal'), v_run.id, p);
end
$$;

create or replace function public.agent_retry_step(p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_run public.agent_runs := private.own_run(p);
  v_answer jsonb := private.retry_step(v_run.user_id, private.tenant_of(p -> 'principal'), v_run.id, p);
begin
  if (v_answer ->> 'forked')::boolean then
    perform private.refuse_unasked(v_run.id, (p ->> 'step_number')::integer);
  end if;
  return v_answer;
end
$$;

-- Reading a run also tells what it asks its user to allow.
alter function public.agent_read_run(jsonb) set schema private;
alter function private.agent_read_run(jsonb) rename to read_run;
alter function private.read_run(jsonb) security invoker;
revoke all on function private.read_run(jsonb) from agent_api;
create function public.agent_read_run(p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_answer jsonb := private.read_run(p);
begin
  return v_answer || jsonb_build_object('approvals', case when v_answer -> 'run' ->> 'status' in ('waiting_user', 'paused')
    then private.open_approvals((v_answer -> 'run' ->> 'id')::uuid) else '[]' end);
end
$$;

-- Owners and grants, as for the functions before.
grant create on schema public, private to agent_engine, agent_front;
do $$
declare
  v_name text;
  v_front text[] := array['agent_answer_approval', 'agent_read_run'];
  v_inner text[] := array['answer_approval(uuid, jsonb)', 'open_approvals(uuid)', 'refuse_unasked(uuid, integer)'];
  v_engine text[] := array['ask_approvals(uuid, integer, jsonb)', 'commit_denied(uuid)', 'model_step_cost(uuid)',
    'continue_run(uuid, public.agent_run_status, jsonb)'];
begin
  foreach v_name in array v_front loop
    execute format('alter function public.%I(jsonb) owner to agent_front', v_name);
    execute format('revoke all on function public.%I(jsonb) from public, anon, authenticated, service_role', v_name);
    execute format('grant execute on function public.%I(jsonb) to agent_api', v_name);
  end loop;
  foreach v_name in array v_inner || v_engine loop
    execute 'alter function private.' || v_name || ' owner to agent_engine';
    execute 'revoke all on function private.' || v_name || ' from public, anon, authenticated, service_role';
  end loop;
  foreach v_name in array v_inner loop
    execute 'alter function private.' || v_name || ' security definer';
    execute 'grant execute on function private.' || v_name || ' to agent_front';
  end loop;
end
$$;
revoke create on schema public, private from agent_engine, agent_front;
