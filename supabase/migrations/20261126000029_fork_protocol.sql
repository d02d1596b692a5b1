-- A fork shares rows with its run and so needs the code that they need.
alter function private.fork_run(uuid, uuid, uuid, jsonb) rename to copy_run;
revoke all on function private.copy_run(uuid, uuid, uuid, jsonb) from agent_front;
create function private.fork_run(p_user uuid, p_tenant uuid, p_run uuid, p jsonb) returns jsonb language plpgsql security definer
set search_path = '' as $$
declare
  v_answer jsonb := private.copy_run(p_user, p_tenant, p_run, p);
  v_protocol integer := (select protocol from private.runs where run_id = p_run);
begin
  if v_protocol > 1 then
    update private.runs set protocol = v_protocol where run_id = (v_answer -> 'run' ->> 'id')::uuid and protocol < v_protocol;
  end if;
  return v_answer;
end
$$;

grant create on schema private to agent_engine;
alter function private.fork_run(uuid, uuid, uuid, jsonb) owner to agent_engine;
revoke create on schema private from agent_engine;
revoke all on function private.fork_run(uuid, uuid, uuid, jsonb) from public, anon, authenticated, service_role;
grant execute on function private.fork_run(uuid, uuid, uuid, jsonb) to agent_front;
