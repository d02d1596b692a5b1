-- Retention: runs that ended long ago, and what is marked as deleted or expired, are really removed: rows, and by the list of
-- objects_to_remove blobs and artifacts. The sweeper does it, some at a time.

-- What the database itself has to know. `retention_days`: an ended run is kept so long; without a row, or with 0, for ever. Written by
-- the step service from its RETENTION_DAYS, or by the operator: select public.agent_configure('{"retention_days": 90}').
create table private.settings (
  name text primary key check (name in ('retention_days')),
  value jsonb not null,
  updated_at timestamptz not null default clock_timestamp()
);
grant select, insert, update, delete on private.settings to agent_engine;

create index agent_runs_ended on public.agent_runs (completed_at) where status in ('completed', 'failed', 'cancelled', 'timeout');
create index agent_runs_deleted on public.agent_runs (deleted_at) where deleted_at is not null;
create index agent_artifacts_expires on public.agent_artifacts (expires_at) where expires_at is not null;
create index agent_artifacts_deleted on public.agent_artifacts (deleted_at) where deleted_at is not null;

create function public.agent_configure(p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_days integer := (p ->> 'retention_days')::integer;
begin
  if v_days is null or v_days not between 0 and 36500 then
    perform private.fail(400, 'invalid_request', 'retention_days must be from 0 (for ever) to 36500');
  end if;
  insert into private.settings (name, value) values ('retention_days', to_jsonb(v_days))
  on conflict (name) do update set value = excluded.value, updated_at = clock_timestamp() where settings.value <> excluded.value;
  return jsonb_build_object('retention_days', v_days);
end
$$;

-- Removes at most p_limit ended runs, for about two seconds, and at most p_limit artifacts. Users in order: of two sweepers at once,
-- each waits only for a user that comes later.
create function private.retire(p_limit integer) returns jsonb language plpgsql set search_path = '' as $$
declare
  v_days integer := (select nullif((value #>> '{}')::integer, 0) from private.settings where name = 'retention_days');
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
         and completed_at < clock_timestamp() - v_days * interval '1 day' order by completed_at limit p_limit)
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
      select a.ctid from public.agent_artifacts a join public.agent_runs r on r.id = a.run_id
      where (a.expires_at <= clock_timestamp() or a.deleted_at is not null) and r.status in ('completed', 'failed', 'cancelled', 'timeout')
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

create or replace function public.agent_sweep(p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_swept jsonb := private.sweep(p);
  v_retired jsonb := private.retire(100);
begin
  delete from private.objects_to_remove where ctid in (
    select ctid from private.objects_to_remove where removed_at < clock_timestamp() - interval '10 minutes' limit 1000);
  -- a commit that was on its way when its blob was listed was not seen by the delete, nor the list by the commit
  delete from private.objects_to_remove where ctid in (
    select o.ctid from private.objects_to_remove o
    where o.bucket = 'agent-workspaces' and o.handed_at is null and o.not_before <= clock_timestamp() and exists (
      select 1 from private.workspace_files w join private.runs r using (run_id)
      where w.sha256 = split_part(o.name, '/', 2) and r.user_id::text = split_part(o.name, '/', 1)) limit 1000);
  return v_swept || jsonb_build_object('removed', v_retired -> 'removed',
    'failed', coalesce((v_swept ->> 'failed')::integer, 0) + (v_retired ->> 'failed')::integer,
    'due', (v_swept ->> 'due')::integer + (select count(*) from private.objects_due(1000)));
end
$$;

grant create on schema public, private to agent_engine;
alter function private.retire(integer) owner to agent_engine;
revoke all on function private.retire(integer) from public, anon, authenticated, service_role, agent_step;
alter function public.agent_configure(jsonb) owner to agent_engine;
revoke all on function public.agent_configure(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.agent_configure(jsonb) to agent_step;
do $$
begin
  -- the operator, who runs migrations
  execute format('grant execute on function public.agent_configure(jsonb) to %I', current_user);
end
$$;
revoke create on schema public, private from agent_engine;
