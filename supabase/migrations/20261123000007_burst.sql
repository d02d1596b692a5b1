-- Bursts: a commit may hand back the next claim, so that one invocation goes on with one round trip and one transaction a step.

-- The claim itself becomes an inner function, used by a delivery and by a commit.
alter function public.agent_claim_step(jsonb) set schema private;
alter function private.agent_claim_step(jsonb) rename to claim;
alter function private.claim(jsonb) security invoker;
revoke all on function private.claim(jsonb) from agent_step;

create function public.agent_claim_step(p jsonb) returns jsonb language sql security definer set search_path = '' as $$
  select private.claim(p)
$$;

-- The commit's answer with the next claim in it, when exactly one step became due and it is one that this invocation can carry out:
-- a step that asks the model or runs a tool inline. What was claimed needs no publication; should its holder die, its lease ends and
-- the sweeper publishes it. p_burst: {lease_seconds, inline_tools}.
create function private.claim_next(p_run uuid, p_answer jsonb, p_burst jsonb) returns jsonb language plpgsql set search_path = '' as $$
declare
  v_number integer := (p_answer -> 'publications' -> 0 ->> 'step_number')::integer;
  v_synchronous text := current_setting('synchronous_commit');
  v_claimed jsonb;
begin
  if jsonb_array_length(p_answer -> 'publications') <> 1 or not exists (
    select 1 from private.steps s join public.agent_steps v on v.id = s.step_id
    where s.run_id = p_run and s.step_number = v_number and (s.kind = 'model' or p_burst -> 'inline_tools' ? v.tool_name)) then
    return p_answer;
  end if;
  v_claimed := private.claim(jsonb_build_object('run_id', p_run, 'step_number', v_number, 'lease_seconds', p_burst -> 'lease_seconds'));
  -- a claim alone does not wait for the disk; the commit it came with does
  perform set_config('synchronous_commit', v_synchronous, true);
  if not v_claimed ? 'claim' then return p_answer; end if;
  return p_answer || jsonb_build_object('claim', v_claimed -> 'claim', 'log_seq', v_claimed -> 'claim' -> 'log_seq', 'publications', '[]'::jsonb);
end
$$;

create or replace function public.agent_commit_step(p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_step private.steps := private.fenced(p);
  v_answer jsonb;
begin
  if v_step.run_id is null or v_step.state <> 'open' then return private.stale((p ->> 'run_id')::uuid); end if;
  -- a check that ends a job's wait closes it, so that a late callback finds its answer taken
  update private.waits set finished_at = clock_timestamp() where run_id = v_step.run_id and step_number = v_step.step_number and finished_at is null;
  v_answer := private.apply_commit(v_step.run_id, v_step.step_number, p -> 'commit');
  if jsonb_typeof(p -> 'burst') = 'object' then
    v_answer := private.claim_next(v_step.run_id, v_answer, p -> 'burst');
  end if;
  return v_answer;
end
$$;

grant create on schema public, private to agent_engine;
alter function public.agent_claim_step(jsonb) owner to agent_engine;
alter function private.claim_next(uuid, jsonb, jsonb) owner to agent_engine;
revoke create on schema public, private from agent_engine;
revoke all on function public.agent_claim_step(jsonb) from public, anon, authenticated, service_role;
revoke all on function private.claim_next(uuid, jsonb, jsonb) from public, anon, authenticated, service_role;
grant execute on function public.agent_claim_step(jsonb) to agent_step;
