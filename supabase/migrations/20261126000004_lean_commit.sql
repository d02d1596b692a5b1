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
