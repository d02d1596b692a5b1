-- The roles of a hosted Supabase project. They belong to the cluster, so this runs again for every project and must not
-- mind finding them. The caller holds a lock: two sessions that create or grant roles at once disturb each other.
do $$
declare
  wanted record;
begin
  for wanted in
    select * from (values
      -- the owner of migrations: no superuser on hosted projects
      ('postgres',               'login createdb createrole replication bypassrls inherit'),
      ('anon',                   'nologin noinherit'),
      ('authenticated',          'nologin noinherit'),
      ('service_role',           'nologin noinherit bypassrls'),
      ('authenticator',          'login noinherit'),
      ('supabase_auth_admin',    'login noinherit createrole'),
      ('supabase_storage_admin', 'login noinherit createrole')
    ) as roles (name, attributes)
  loop
    if not exists (select from pg_catalog.pg_roles where rolname = wanted.name) then
      execute format('create role %I with %s', wanted.name, wanted.attributes);
    end if;
  end loop;
end
$$;

grant anon, authenticated, service_role to authenticator;
-- The storage service enters the role of whoever calls it, custom roles included, by way of authenticator.
grant authenticator to supabase_storage_admin;
grant anon, authenticated, service_role to postgres with admin option;
grant authenticator to postgres with admin option;
grant pg_monitor, pg_read_all_data, pg_signal_backend to postgres;
-- Hosted, an extension lets postgres write policies on the storage tables; membership of their owner does it here.
-- What hosted refuses all the same (alter, drop) project.sql refuses with event triggers.
grant supabase_storage_admin to postgres;

alter role anon set statement_timeout = '3s';
alter role authenticated set statement_timeout = '8s';
alter role authenticator set statement_timeout = '8s';
alter role authenticator set lock_timeout = '8s';
alter role postgres set search_path = "$user", public, extensions;
alter role supabase_admin set search_path = "$user", public, extensions;
alter role supabase_auth_admin set search_path = auth;
alter role supabase_auth_admin set idle_in_transaction_session_timeout = '60s';
alter role supabase_storage_admin set search_path = storage;
