-- The storage schema. Its tables belong to supabase_storage_admin; every access of a caller goes through their policies.
create schema if not exists storage authorization supabase_storage_admin;
grant usage on schema storage to postgres with grant option;
grant usage on schema storage to anon, authenticated, service_role;

set local role supabase_storage_admin;

create table if not exists storage.buckets (
  id text primary key,
  name text not null unique,
  owner uuid,
  owner_id text,
  created_at timestamptz default now(),
  updated_at timestamptz default now(),
  public boolean default false,
  avif_autodetection boolean default false,
  file_size_limit bigint,
  allowed_mime_types text[],
  type text not null default 'STANDARD'
);
alter table storage.buckets enable row level security;

create table if not exists storage.objects (
  id uuid primary key default gen_random_uuid(),
  bucket_id text references storage.buckets,
  name text,
  owner uuid,
  owner_id text,
  created_at timestamptz default now(),
  updated_at timestamptz default now(),
  last_accessed_at timestamptz default now(),
  metadata jsonb,
  path_tokens text[] generated always as (string_to_array(name, '/')) stored,
  version text,
  user_metadata jsonb
);
create unique index if not exists bucketid_objname on storage.objects (bucket_id, name);
create index if not exists name_prefix_search on storage.objects (name text_pattern_ops);
alter table storage.objects enable row level security;

create or replace function storage.foldername(name text) returns text[] language sql immutable as $$
  select (string_to_array(name, '/'))[1 : array_length(string_to_array(name, '/'), 1) - 1]
$$;
create or replace function storage.filename(name text) returns text language sql immutable as $$
  select (string_to_array(name, '/'))[array_length(string_to_array(name, '/'), 1)]
$$;
create or replace function storage.extension(name text) returns text language sql immutable as $$
  select reverse(split_part(reverse(storage.filename(name)), '.', 1))
$$;

grant all on storage.buckets, storage.objects to postgres with grant option;
grant all on storage.buckets, storage.objects to anon, authenticated, service_role;
grant execute on all functions in schema storage to postgres, anon, authenticated, service_role;

reset role;

-- Membership of the owner gives postgres more than hosted does; what hosted refuses is refused here in the same words.
create or replace function storage.refuse_alter() returns event_trigger
language plpgsql set search_path = '' as $$
declare
  command record;
begin
  if session_user <> 'postgres' then return; end if;
  for command in select * from pg_catalog.pg_event_trigger_ddl_commands() loop
    if command.schema_name = 'storage' and command.command_tag in ('ALTER TABLE', 'CREATE INDEX', 'ALTER FUNCTION') then
      raise exception using errcode = '42501', message = 'must be owner of ' || command.object_identity;
    end if;
  end loop;
end
$$;
create or replace function storage.refuse_drop() returns event_trigger
language plpgsql set search_path = '' as $$
declare
  dropped record;
begin
  if session_user <> 'postgres' then return; end if;
  for dropped in select * from pg_catalog.pg_event_trigger_dropped_objects() where original loop
    if dropped.schema_name = 'storage' and dropped.object_type in ('table', 'index', 'function') then
      raise exception using errcode = '42501', message = 'must be owner of ' || dropped.object_identity;
    end if;
  end loop;
end
$$;
do $$
begin
  if not exists (select from pg_catalog.pg_event_trigger where evtname = 'storage_refuse_alter') then
    create event trigger storage_refuse_alter on ddl_command_end execute function storage.refuse_alter();
    create event trigger storage_refuse_drop on sql_drop execute function storage.refuse_drop();
  end if;
end
$$;
