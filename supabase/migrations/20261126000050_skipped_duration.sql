-- A step that never began took no time: `least` passes over a null, so that it was told to have taken 24 days.
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
      completed_at = v_now, duration_ms = case when started_at is not null then least(extract(epoch from v_now - started_at) * 1000, 2147483647) end
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
