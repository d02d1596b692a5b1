-- Makes a run with one open step long at once: copies its last 40 done steps, with all rows that belong to them, until the open step
-- has number `to_step`. Only for the benchmark of flat cost: what the engine itself would take minutes to write.
create function floor.lengthen(p_run uuid, p_to integer) returns void language plpgsql as $$
declare
  v_open integer;
  v_seq bigint;
  v_time timestamptz;
  v_user uuid;
  v_reserved numeric;
  v_charged numeric;
begin
  select step_number into strict v_open from private.steps where run_id = p_run and state = 'open';
  select log_seq, last_log_at, user_id into v_seq, v_time, v_user from private.runs where run_id = p_run;
  create temp table copies on commit drop as
    select n as number, gen_random_uuid() as new_id, s.step_id as old_id, s.step_number as old_number
    from generate_series(v_open, p_to - 1) n
    join private.steps s on s.run_id = p_run and s.step_number = v_open - 40 + (n - v_open) % 40;

  update public.agent_steps set step_number = p_to, idempotency_key = p_run || ':' || p_to where run_id = p_run and step_number = v_open;
  update private.steps set step_number = p_to where run_id = p_run and step_number = v_open;
  update private.credit_ledger set step_number = p_to where run_id = p_run and step_number = v_open;
  update public.agent_task_queue set step_number = p_to where run_id = p_run and step_number = v_open;

  insert into public.agent_steps select (jsonb_populate_record(s, jsonb_build_object('id', c.new_id, 'step_number', c.number,
    'idempotency_key', p_run || ':' || c.number))).* from copies c join public.agent_steps s on s.id = c.old_id order by c.number;
  insert into private.steps select (jsonb_populate_record(s, jsonb_build_object('step_id', c.new_id, 'step_number', c.number))).*
    from copies c join private.steps s on s.run_id = p_run and s.step_number = c.old_number order by c.number;
  insert into private.credit_ledger overriding user value select (jsonb_populate_record(l, jsonb_build_object('step_number', c.number))).*
    from copies c join private.credit_ledger l on l.run_id = p_run and l.step_number = c.old_number order by c.number, l.id;
  insert into public.agent_messages (id, run_id, user_id, step_id, step_number, role, content, tool_call_id, tool_name, attachments, metadata)
    select gen_random_uuid(), p_run, v_user, c.new_id, c.number, m.role, m.content, m.tool_call_id, m.tool_name, m.attachments, m.metadata
    from copies c join public.agent_messages m on m.run_id = p_run and m.step_number = c.old_number order by c.number, m.position;
  insert into public.agent_task_logs select (jsonb_populate_record(l.t, jsonb_build_object('id', gen_random_uuid(), 'seq', v_seq + l.n,
    'created_at', v_time + l.n * interval '1 microsecond', 'metadata', (l.t).metadata || jsonb_build_object('step_id', l.new_id)))).*
    from (select t, c.new_id, row_number() over (order by c.number, t.seq) as n
          from copies c join public.agent_task_logs t on t.run_id = p_run and t.metadata ->> 'step_id' = c.old_id::text) l;
  update private.runs set next_step = p_to + 1, log_seq = t.seq, last_log_at = t.at, messages = t.messages
  from (select (select max(seq) from public.agent_task_logs where run_id = p_run) as seq,
               (select max(created_at) from public.agent_task_logs where run_id = p_run) as at,
               (select count(*) from public.agent_messages where run_id = p_run) as messages) t
  where run_id = p_run;
  update public.agent_runs set total_steps = p_to + 1, completed_steps = p_to where id = p_run;
end
$$;
