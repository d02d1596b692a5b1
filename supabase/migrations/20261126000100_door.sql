-- The door for tool jobs (functions/step, FUNCTION_TARGET=door) calls as a role of its own: whoever takes it over can do what a job may
-- do that it has the token of, and move no other run.
do $$
begin
  if not exists (select 1 from pg_catalog.pg_roles where rolname = 'agent_door') then
    begin
      create role agent_door nologin nobypassrls noinherit;
    exception when duplicate_object or unique_violation then
      null; -- another database of the same cluster made it at this moment
    end;
  end if;
  grant agent_door to authenticator;
end
$$;
-- as agent_step: its statements are short
alter role agent_door set statement_timeout = '15s';
alter role agent_door set lock_timeout = '5s';

grant usage on schema public to agent_door;
grant execute on function public.agent_start_job(jsonb), public.agent_check_job(jsonb), public.agent_finish_job(jsonb), public.agent_ready(jsonb)
  to agent_door;

-- Files of workspaces, and what a finished tool hands to its user.
grant usage on schema storage to agent_door;
grant select, insert on storage.objects to agent_door;
grant select on storage.buckets to agent_door;
create policy agent_door_read on storage.objects for select to agent_door using (bucket_id in ('agent-workspaces', 'agent-outputs'));
create policy agent_door_write on storage.objects for insert to agent_door with check (bucket_id in ('agent-workspaces', 'agent-outputs'));
create policy agent_door_buckets on storage.buckets for select to agent_door using (id in ('agent-workspaces', 'agent-outputs'));
