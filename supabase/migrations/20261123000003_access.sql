-- Who sees what. Hosted Supabase grants every new object in `public` to anon, authenticated and service_role by default privileges;
-- policies do not take that back, so everything is revoked first and granted by name.

revoke all on public.agent_runs, public.agent_steps, public.agent_messages, public.agent_artifacts, public.agent_run_connectors,
  public.agent_task_logs, public.agent_task_queue, public.credit_balances from public, anon, authenticated, service_role;
revoke all on all sequences in schema public from anon, authenticated;

alter table public.agent_runs enable row level security;
alter table public.agent_steps enable row level security;
alter table public.agent_messages enable row level security;
alter table public.agent_artifacts enable row level security;
alter table public.agent_run_connectors enable row level security;
alter table public.agent_task_logs enable row level security;
alter table public.agent_task_queue enable row level security;
alter table public.credit_balances enable row level security;

grant usage on schema private to agent_engine, agent_front, authenticated;
grant usage on schema public to agent_engine, agent_front, agent_api, agent_step;
grant select, insert, update, delete on all tables in schema private to agent_engine;
grant usage on all sequences in schema private to agent_engine;

-- Our user id of whoever makes this request, from issuer and sub of its verified claims; null when they are nobody we know.
create function private.current_user_id() returns uuid language sql stable security definer set search_path = '' as $$
  with claims as (
    select nullif(current_setting('request.jwt.claims', true), '')::jsonb as c
  )
  select coalesce(
    (select p.user_id from private.principals p where p.issuer = c ->> 'iss' and p.sub = c ->> 'sub'),
    -- not seen yet: at an issuer whose sub is our user id there is nothing to look up
    (select (c ->> 'sub')::uuid from private.issuers i where i.issuer = c ->> 'iss' and i.user_id_from = 'sub'
       and c ->> 'sub' ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$')
  )
  from claims
$$;
grant create on schema private to agent_engine, agent_front;
alter function private.current_user_id() owner to agent_engine;
revoke all on function private.current_user_id() from public;
grant execute on function private.current_user_id() to authenticated, agent_front, agent_engine;

do $$
declare
  v_table text;
begin
  foreach v_table in array array['agent_runs', 'agent_steps', 'agent_messages', 'agent_artifacts', 'agent_run_connectors',
                                 'agent_task_logs', 'credit_balances'] loop
    execute format('grant select on public.%I to authenticated, agent_front', v_table);
    execute format('create policy own_rows on public.%I for select to authenticated, agent_front using (user_id = (select private.current_user_id()))', v_table);
    execute format('grant select, insert, update, delete on public.%I to agent_engine', v_table);
    execute format('create policy engine on public.%I for all to agent_engine using (true) with check (true)', v_table);
  end loop;
  grant select, insert, update, delete on public.agent_task_queue to agent_engine;
  create policy engine on public.agent_task_queue for all to agent_engine using (true) with check (true);
end
$$;

-- Realtime follows the six tables where the hosted publication exists.
do $$
declare
  v_table text;
begin
  if not exists (select 1 from pg_catalog.pg_publication where pubname = 'supabase_realtime') then return; end if;
  foreach v_table in array array['agent_runs', 'agent_steps', 'agent_messages', 'agent_artifacts', 'agent_run_connectors',
                                 'agent_task_logs'] loop
    if not exists (select 1 from pg_catalog.pg_publication_tables
                   where pubname = 'supabase_realtime' and schemaname = 'public' and tablename = v_table) then
      execute format('alter publication supabase_realtime add table public.%I', v_table);
    end if;
  end loop;
end
$$;

-- Storage: `agent-inputs` has a folder per user of the Auth project, `agent-workspaces` holds blobs by owner and hash,
-- `agent-outputs` what runs produced. All private.
insert into storage.buckets (id, name, public)
values ('agent-inputs', 'agent-inputs', false), ('agent-workspaces', 'agent-workspaces', false), ('agent-outputs', 'agent-outputs', false)
on conflict (id) do nothing;

grant usage on schema storage to agent_api, agent_step;
grant select, insert on storage.objects to agent_api, agent_step;
grant select on storage.buckets to agent_api, agent_step;

create policy agent_inputs_own_folder on storage.objects for all to authenticated
  using (bucket_id = 'agent-inputs' and (storage.foldername(name))[1] = (select auth.uid())::text)
  with check (bucket_id = 'agent-inputs' and (storage.foldername(name))[1] = (select auth.uid())::text);
create policy agent_outputs_own_folder on storage.objects for select to authenticated
  using (bucket_id = 'agent-outputs' and (storage.foldername(name))[1] = (select private.current_user_id())::text);
create policy agent_service_read on storage.objects for select to agent_api, agent_step
  using (bucket_id in ('agent-workspaces', 'agent-outputs'));
create policy agent_service_write on storage.objects for insert to agent_step
  with check (bucket_id in ('agent-workspaces', 'agent-outputs'));
create policy agent_api_write on storage.objects for insert to agent_api
  with check (bucket_id = 'agent-workspaces');
create policy agent_service_buckets on storage.buckets for select to agent_api, agent_step
  using (id in ('agent-workspaces', 'agent-outputs'));
