-- Retention looks for artifacts by the two indexes that it has for them: asked for with "or" they were read from end to end in every
-- sweep. Who is expired and who is deleted are two questions, each in the order of its index.

create or replace function private.retire(p_limit integer) returns jsonb language plpgsql set search_path = '' as $$
declare
  v_days integer := (select nullif((value #>> '{}')::integer, 0) from private.settings where name = 'retention_days');
  v_now timestamptz := clock_timestamp();
  v_until timestamptz := clock_timestamp() + interval '2 seconds';
  v_run record;
  v_removed integer := 0;
  v_failed integer := 0;
begin
  for v_run in
    select id, user_id from (
      (select id, user_id from public.agent_runs
       where deleted_at is not null and status in ('completed', 'failed', 'cancelled', 'timeout') order by deleted_at limit p_limit)
      union
      (select id, user_id from public.agent_runs
       where v_days is not null and status in ('completed', 'failed', 'cancelled', 'timeout')
         and completed_at < v_now - v_days * interval '1 day' order by completed_at limit p_limit)
    ) t order by user_id, id limit p_limit
  loop
    exit when clock_timestamp() > v_until;
    -- who holds the run is at work on it: the next sweep finds it
    perform 1 from private.runs where run_id = v_run.id for update skip locked;
    continue when not found and exists (select 1 from private.runs where run_id = v_run.id);
    perform 1 from public.agent_runs where id = v_run.id for update skip locked;
    continue when not found;
    -- one run that cannot be removed must not keep the sweeper from everything else
    begin
      perform private.delete_run(v_run.user_id, v_run.id);
      v_removed := v_removed + 1;
    exception when others then
      v_failed := v_failed + 1;
      raise warning 'run % could not be removed: % %', v_run.id, sqlstate, sqlerrm;
    end;
  end loop;

  -- While a run goes on it may write the same file again: its artifacts wait for its end.
  with gone as (
    delete from public.agent_artifacts where ctid in (
      select a.ctid from public.agent_artifacts a where a.id in (
        (select x.id from public.agent_artifacts x join public.agent_runs r on r.id = x.run_id
         where x.expires_at <= v_now and r.status in ('completed', 'failed', 'cancelled', 'timeout') order by x.expires_at limit p_limit)
        union
        (select x.id from public.agent_artifacts x join public.agent_runs r on r.id = x.run_id
         where x.deleted_at is not null and r.status in ('completed', 'failed', 'cancelled', 'timeout') order by x.deleted_at limit p_limit))
      limit p_limit for update of a skip locked)
    returning *
  )
  insert into private.objects_to_remove (bucket, name)
  select distinct g.storage_bucket, g.storage_key from gone g
  where g.storage_bucket = 'agent-outputs' and starts_with(g.storage_key, g.user_id || '/')
    -- the statement does not see its own delete
    and not exists (select 1 from public.agent_artifacts o where o.user_id = g.user_id and o.storage_bucket = g.storage_bucket
                    and o.storage_key = g.storage_key and o.id not in (select id from gone))
  on conflict do nothing;
  return jsonb_build_object('removed', v_removed, 'failed', v_failed);
end
$$;
