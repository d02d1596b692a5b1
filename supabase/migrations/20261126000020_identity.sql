-- Which role may serve, and which keys of an issuer are no longer believed.

-- Keys of token issuers that an operator has taken out of service. The functions remember published keys for minutes; a row here holds
-- at once, in every process and for streams that are open.
create table private.revoked_keys (
  issuer text not null,
  key_id text not null,
  reason text not null,
  created_at timestamptz not null default now(),
  primary key (issuer, key_id)
);
grant select, insert, update, delete on private.revoked_keys to agent_engine;

-- The operator's switch: `select private.revoke_key('https://<project>/auth/v1', '<kid>', 'why')`. Tickets that were bought with a token
-- of this issuer may be an impostor's: they go too, and clients buy new ones.
create function private.revoke_key(p_issuer text, p_key_id text, p_reason text) returns void language sql set search_path = '' as $$
  insert into private.revoked_keys (issuer, key_id, reason) values (p_issuer, p_key_id, p_reason) on conflict do nothing;
  delete from private.stream_tickets where issuer = p_issuer
$$;

create or replace function private.act_as(p_principal jsonb) returns uuid language plpgsql security definer set search_path = '' as $$
declare
  v_issuer text := p_principal ->> 'issuer';
  v_sub text := p_principal ->> 'sub';
  v_user uuid;
  v_tenant uuid;
begin
  if coalesce(v_issuer, '') = '' or v_sub is null
    or exists (select 1 from private.revoked_keys where issuer = v_issuer and key_id = p_principal ->> 'key_id') then
    perform private.fail(401, 'unauthorized', 'Unauthorized');
  end if;
  perform set_config('request.jwt.claims', jsonb_build_object('iss', v_issuer, 'sub', v_sub, 'role', 'authenticated')::text, true);
  select user_id, tenant_id into v_user, v_tenant from private.principals where issuer = v_issuer and sub = v_sub;
  if not found then
    insert into private.issuers (issuer, user_id_from) values (v_issuer, p_principal ->> 'user_id_from') on conflict do nothing;
    v_user := case when p_principal ->> 'user_id_from' = 'sub' then v_sub::uuid else gen_random_uuid() end;
    insert into private.principals (issuer, sub, user_id, tenant_id)
    values (v_issuer, v_sub, v_user, coalesce((p_principal ->> 'tenant_id')::uuid, v_user)) on conflict do nothing;
    select user_id into v_user from private.principals where issuer = v_issuer and sub = v_sub;
  elsif v_tenant <> coalesce((p_principal ->> 'tenant_id')::uuid, v_user) then
    update private.principals set tenant_id = coalesce((p_principal ->> 'tenant_id')::uuid, v_user) where issuer = v_issuer and sub = v_sub;
  end if;
  return v_user;
end
$$;

-- Whether the schema is there and the asking role is as narrow as it has to be. `bypass_through` is a role that the asking one is or can
-- become, and to which row security is no wall; null when there is none.
create or replace function public.agent_ready(p jsonb) returns jsonb language sql stable set search_path = '' as $$
  with wide as (
    select r.rolname from pg_catalog.pg_roles r
    where (r.rolbypassrls or r.rolsuper or r.rolname = 'agent_engine') and pg_catalog.pg_has_role(current_user, r.oid, 'MEMBER')
    order by r.rolname = current_user desc, r.rolname limit 1
  )
  select jsonb_build_object('schema', 1, 'role', current_user, 'bypass_rls', exists (select 1 from wide),
    'bypass_through', (select rolname from wide))
$$;

grant create on schema private to agent_engine;
alter function private.revoke_key(text, text, text) owner to agent_engine;
revoke create on schema private from agent_engine;
revoke all on function private.revoke_key(text, text, text) from public, anon, authenticated, service_role;
do $$
begin
  execute format('grant execute on function private.revoke_key(text, text, text) to %I', current_user);
end
$$;
