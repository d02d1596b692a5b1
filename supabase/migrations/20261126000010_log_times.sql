-- Old callers page by the time of the last row, and many pass it through a JavaScript Date, which keeps milliseconds: a row of a
-- fraction of a millisecond would come again on every page. So a run's log has whole milliseconds from here on, still strictly rising.
-- Rows written before keep their microseconds: for them such a caller sees rows again rather than losing one.

-- Log rows numbered up to p_last, a millisecond apart up to p_time. The caller has raised the run's counter and its last time.
create or replace function private.insert_logs(p_run uuid, p_user uuid, p_last bigint, p_time timestamptz, p_logs jsonb) returns void
language plpgsql set search_path = '' as $$
declare
  v_count integer := jsonb_array_length(p_logs);
begin
  insert into public.agent_task_logs (run_id, user_id, seq, log_type, message, metadata, created_at)
  select p_run, p_user, p_last - v_count + l.n, (l.e ->> 'log_type')::public.agent_log_type, l.e ->> 'message',
         jsonb_strip_nulls(jsonb_build_object('event', l.e -> 'event', 'step_id', l.e -> 'step_id', 'message_id', l.e -> 'message_id',
           'artifact_id', l.e -> 'artifact_id')) || case when l.e ? 'data' then jsonb_build_object('data', l.e -> 'data') else '{}' end,
         p_time - (v_count - l.n) * interval '1 millisecond'
  from jsonb_array_elements(p_logs) with ordinality as l (e, n);
end
$$;

-- When the newest of p_count log rows after p_last_log_at is written: times of a run's rows rise strictly.
create or replace function private.log_time(p_last_log_at timestamptz, p_count integer) returns timestamptz language sql volatile
return date_trunc('milliseconds', greatest(clock_timestamp(), p_last_log_at + interval '1 millisecond'))
  + (p_count - 1) * interval '1 millisecond';
