-- Old callers page by the time of the last row, and many pass it through a JavaScript Date, which keeps milliseconds: a row of a
-- fraction of a millisecond would come again on every page. So a run's log has whole milliseconds from here on, still strictly rising.
-- Rows written before keep their microseconds: for them such a caller sees rows again rather than losing one.
create or replace function private.add_logs(p_run uuid, p_logs jsonb) returns bigint language plpgsql set search_path = '' as $$
declare
  v_count integer := jsonb_array_length(p_logs);
  v_last bigint;
  v_time timestamptz;
  v_user uuid;
begin
  update private.runs
  set log_seq = log_seq + v_count,
      last_log_at = date_trunc('milliseconds', greatest(clock_timestamp(), last_log_at + interval '1 millisecond'))
        + (v_count - 1) * interval '1 millisecond'
  where run_id = p_run returning log_seq, last_log_at, user_id into v_last, v_time, v_user;
  insert into public.agent_task_logs (run_id, user_id, seq, log_type, message, metadata, created_at)
  select p_run, v_user, v_last - v_count + l.n, (l.e ->> 'log_type')::public.agent_log_type, l.e ->> 'message',
         jsonb_strip_nulls(jsonb_build_object('event', l.e -> 'event', 'step_id', l.e -> 'step_id', 'message_id', l.e -> 'message_id',
           'artifact_id', l.e -> 'artifact_id')) || case when l.e ? 'data' then jsonb_build_object('data', l.e -> 'data') else '{}' end,
         v_time - (v_count - l.n) * interval '1 millisecond'
  from jsonb_array_elements(p_logs) with ordinality as l (e, n);
  return v_last;
end
$$;
