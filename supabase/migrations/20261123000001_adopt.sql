-- Works on an empty database and on one that holds the seven tables of the earlier design (files 20260113000001 to ...7), with rows,
-- policies and triggers. This file sets the old things aside; the next one creates what is missing.

-- Roles. NOLOGIN and NOBYPASSRLS throughout: nothing of ours can step around row security.
--   agent_engine  owns the functions that move runs; agent_front owns those that act for a user, and sees only that user's rows
--   agent_api     execute, status and logs call as this role; agent_step: the step function. Both may EXECUTE by name, nothing else.
do $$
declare
  v_role text;
begin
  foreach v_role in array array['agent_engine', 'agent_front', 'agent_api', 'agent_step'] loop
    if not exists (select 1 from pg_catalog.pg_roles where rolname = v_role) then
      begin
        execute format('create role %I nologin nobypassrls noinherit', v_role);
      exception when duplicate_object or unique_violation then
        null; -- another database of the same cluster made it at this moment
      end;
    end if;
  end loop;
  grant agent_engine, agent_front to current_user;
  grant agent_api, agent_step to authenticator;
end
$$;

-- A statement of ours is short; one that waits longer than this is better tried again.
alter role agent_api set statement_timeout = '8s';
alter role agent_api set lock_timeout = '4s';
alter role agent_step set statement_timeout = '15s';
alter role agent_step set lock_timeout = '5s';

create schema if not exists private;
revoke all on schema private from public;

-- Old enum types with other labels step aside; columns are converted by name of the label in the next file.
do $$
declare
  v_wanted constant jsonb := '{
    "agent_run_status": ["created","queued","planning","executing","waiting_user","paused","completed","failed","cancelled","timeout"],
    "agent_step_status": ["pending","running","completed","failed","skipped","cancelled"],
    "agent_tool_type": ["shell","code","browser","file_read","file_write","search","message","plan","generate","slides","connector","wide_research"],
    "agent_run_mode": ["chat","research","slides","website","document","spreadsheet","image","video","audio","code","data_analysis","custom"],
    "agent_log_type": ["info","success","error","warning","state_transition","tool_success","tool_error","phase_advance","user_input_required"]
  }';
  v_name text;
  v_labels text[];
  v_have text[];
begin
  for v_name in select jsonb_object_keys(v_wanted) loop
    v_labels := array(select jsonb_array_elements_text(v_wanted -> v_name));
    v_have := array(
      select e.enumlabel::text from pg_catalog.pg_enum e
      join pg_catalog.pg_type t on t.oid = e.enumtypid
      join pg_catalog.pg_namespace n on n.oid = t.typnamespace
      where n.nspname = 'public' and t.typname = v_name order by e.enumsortorder);
    if v_have = v_labels then continue; end if;
    if cardinality(v_have) > 0 then
      execute format('alter type public.%I rename to %I', v_name, v_name || '_before');
    end if;
    execute format('create type public.%I as enum (%s)', v_name,
      (select string_agg(quote_literal(l), ', ') from unnest(v_labels) l));
  end loop;
end
$$;

-- The old tables lose what would stand in the way: policies that call auth.uid() a row, the trigger that completed a run whenever
-- no step was pending, checks and indexes over columns that change type, foreign keys to auth.users (users of the other project
-- are not in it). The old queue holds work of runs that end below: it is kept beside, out of reach of the API.
do $$
declare
  v_table text;
  v record;
begin
  foreach v_table in array array['agent_runs', 'agent_steps', 'agent_messages', 'agent_artifacts', 'agent_run_connectors',
                                 'agent_task_logs'] loop
    if to_regclass('public.' || v_table) is null then continue; end if;
    for v in select polname from pg_catalog.pg_policy where polrelid = to_regclass('public.' || v_table) loop
      execute format('drop policy %I on public.%I', v.polname, v_table);
    end loop;
    for v in select tgname from pg_catalog.pg_trigger where tgrelid = to_regclass('public.' || v_table) and not tgisinternal loop
      execute format('drop trigger %I on public.%I', v.tgname, v_table);
    end loop;
    for v in select c.conname from pg_catalog.pg_constraint c
             left join pg_catalog.pg_class f on f.oid = c.confrelid
             left join pg_catalog.pg_namespace n on n.oid = f.relnamespace
             where c.conrelid = to_regclass('public.' || v_table) and (c.contype = 'c' or (c.contype = 'f' and (n.nspname <> 'public'
               or f.relname not in ('agent_runs', 'agent_steps')))) loop
      execute format('alter table public.%I drop constraint %I', v_table, v.conname);
    end loop;
    for v in select i.indexrelid::regclass::text as name from pg_catalog.pg_index i
             where i.indrelid = to_regclass('public.' || v_table)
               and not exists (select 1 from pg_catalog.pg_constraint c where c.conindid = i.indexrelid) loop
      execute 'drop index ' || v.name;
    end loop;
    for v in select a.attname from pg_catalog.pg_attribute a
             where a.attrelid = to_regclass('public.' || v_table) and a.attnum > 0 and not a.attisdropped and a.attnotnull
               and not exists (select 1 from pg_catalog.pg_constraint c where c.conrelid = a.attrelid and c.contype = 'p'
                               and a.attnum = any (c.conkey)) loop
      execute format('alter table public.%I alter column %I drop not null', v_table, v.attname);
    end loop;
  end loop;
  if to_regclass('public.agent_task_queue') is not null and to_regclass('private.agent_task_queue_before') is null then
    alter table public.agent_task_queue set schema private;
    alter table private.agent_task_queue rename to agent_task_queue_before;
  end if;
end
$$;

-- Brings one column to the wanted type and default, whether the table is new, lacks it, or has it with another type.
create function private.adopt_column(p_table text, p_column text, p_type text, p_default text, p_not_null boolean)
returns void language plpgsql set search_path = '' as $$
declare
  v_relation regclass := ('public.' || p_table)::regclass;
  v_have text;
  v_enum boolean := exists (select 1 from pg_catalog.pg_type t where t.oid = to_regtype(p_type) and t.typtype = 'e');
begin
  select pg_catalog.format_type(a.atttypid, a.atttypmod) into v_have from pg_catalog.pg_attribute a
  where a.attrelid = v_relation and a.attname = p_column and not a.attisdropped;
  if v_have is null then
    execute format('alter table %s add column %I %s', v_relation, p_column, p_type);
  elsif v_have <> p_type and 'public.' || v_have <> p_type then
    execute format('alter table %s alter column %I drop default', v_relation, p_column);
    execute format('alter table %s alter column %I type %s using %s', v_relation, p_column, p_type,
      case when v_enum then format('case when %1$I::text = any (enum_range(null::%2$s)::text[]) then %1$I::text::%2$s end', p_column, p_type)
           when p_type = 'jsonb' then format('to_jsonb(%I)', p_column)
           when p_type = 'text[]' and v_have = 'jsonb' then format('array(select jsonb_array_elements_text(%I))', p_column)
           else format('%I::text::%s', p_column, p_type) end);
  end if;
  if p_default is not null then
    execute format('alter table %s alter column %I set default %s', v_relation, p_column, p_default);
    execute format('update %s set %I = default where %I is null', v_relation, p_column, p_column);
  end if;
  if p_not_null then
    execute format('alter table %s alter column %I set not null', v_relation, p_column);
  end if;
end
$$;
revoke all on function private.adopt_column(text, text, text, text, boolean) from public;
