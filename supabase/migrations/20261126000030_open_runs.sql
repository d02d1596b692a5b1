-- How many runs a user and a tenant may have that have not ended. The numbers come with a run's limits (agent_runs.config.limits), so
-- that every way to a new run keeps them: create, retry, fork, retry of a step, and each run of a verb for a tag.

-- A run has a deadline exactly while it has not ended.
create index runs_open_user on private.runs (user_id) where deadline_at is not null;
create index runs_open_tenant on private.runs (tenant_id) where deadline_at is not null;

-- Raises 429 when there would be more than p_limits allows. p_extra: runs that are not inserted yet.
create function private.check_open_runs(p_user uuid, p_tenant uuid, p_limits jsonb, p_extra integer) returns void language plpgsql set search_path = '' as $$
declare
  v_user integer := (p_limits ->> 'max_open_runs_per_user')::integer;
  v_tenant integer := (p_limits ->> 'max_open_runs_per_tenant')::integer;
begin
  if v_user is not null and v_user < p_extra + (
    select count(*) from (select 1 from private.runs where user_id = p_user and deadline_at is not null limit v_user + 1) r) then
    perform private.fail(429, 'too_many_runs', 'You have ' || v_user || ' runs that have not ended, which is the most that are allowed: wait until one ends, or stop one');
  end if;
  if v_tenant is not null and p_tenant <> p_user and v_tenant < p_extra + (
    select count(*) from (select 1 from private.runs where tenant_id = p_tenant and deadline_at is not null limit v_tenant + 1) r) then
    perform private.fail(429, 'too_many_runs', 'Your organisation has ' || v_tenant || ' runs that have not ended, which is the most that are allowed: wait until one ends, or stop one');
  end if;
end
$$;

-- Two creates at once would each count without the other, so they go one after another: those of a user did so before at their
-- balance. Locks are taken in this order everywhere: runs, user, tenant, balance.
create function private.hold_open_runs() returns trigger language plpgsql set search_path = '' as $$
declare
  v_limits jsonb := (select config -> 'limits' from public.agent_runs where id = new.run_id);
begin
  if v_limits ? 'max_open_runs_per_user' then
    perform pg_advisory_xact_lock(hashtextextended('open runs of ' || new.user_id, 0));
  end if;
  if v_limits ? 'max_open_runs_per_tenant' and new.tenant_id <> new.user_id then
    perform pg_advisory_xact_lock(hashtextextended('open runs of ' || new.tenant_id, 0));
  end if;
  perform private.check_open_runs(new.user_id, new.tenant_id, v_limits, 0);
  return null;
end
$$;
create trigger hold_open_runs after insert on private.runs for each row execute function private.hold_open_runs();

-- What can be refused is refused before attachments are read. p.checks: {limits, auto_start, cost_units}; what it finds is only a
-- forecast, and the create decides.
create function private.check_create(p_user uuid, p_tenant uuid, p_checks jsonb) returns void language plpgsql set search_path = '' as $$
begin
  perform private.check_open_runs(p_user, p_tenant, p_checks -> 'limits', 1);
  if (p_checks ->> 'auto_start')::boolean and not exists (
    select 1 from public.credit_balances where user_id = p_user and available_credits >= (p_checks ->> 'cost_units')::bigint / 10000.0) then
    perform private.fail(402, 'insufficient_credits', 'Insufficient credits');
  end if;
end
$$;

create or replace function public.agent_prepare_create(p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_user uuid := private.act_as(p -> 'principal');
  v_run uuid := private.replay(v_user, p -> 'idempotency');
begin
  perform private.open_account(v_user, (p ->> 'opening_units')::bigint);
  if v_run is null and jsonb_typeof(p -> 'checks') = 'object' then
    perform private.check_create(v_user, private.tenant_of(p -> 'principal'), p -> 'checks');
  end if;
  return jsonb_build_object('user_id', v_user, 'replay',
    case when v_run is not null then private.run_answer(v_run, private.unclaimed(v_run)) || '{"replayed": true}' end);
end
$$;

grant create on schema private to agent_engine;
do $$
declare
  v_name text;
begin
  foreach v_name in array array['check_open_runs(uuid, uuid, jsonb, integer)', 'hold_open_runs()', 'check_create(uuid, uuid, jsonb)'] loop
    execute 'alter function private.' || v_name || ' owner to agent_engine';
    execute 'revoke all on function private.' || v_name || ' from public, anon, authenticated, service_role, agent_step';
  end loop;
  alter function private.check_create(uuid, uuid, jsonb) security definer;
  grant execute on function private.check_create(uuid, uuid, jsonb) to agent_front;
end
$$;
revoke create on schema private from agent_engine;
