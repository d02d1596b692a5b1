-- An Idempotency-Key outlives its run: a create that was on its way when its repeat was answered, carried out and deleted makes nothing
-- when it arrives at last. It goes by its age, as all of them do.
alter table private.idempotency_keys drop constraint idempotency_keys_run_id_fkey;
drop index private.idempotency_keys_run;

create or replace function private.replay(p_user uuid, p_idempotency jsonb) returns uuid language plpgsql security definer set search_path = '' as $$
declare
  v_body text;
  v_run uuid;
begin
  if p_idempotency is null or jsonb_typeof(p_idempotency) = 'null' then return null; end if;
  delete from private.idempotency_keys where user_id = p_user and key = p_idempotency ->> 'key' and created_at < clock_timestamp() - interval '24 hours';
  select body_sha256, run_id into v_body, v_run from private.idempotency_keys where user_id = p_user and key = p_idempotency ->> 'key';
  if v_run is not null and v_body <> p_idempotency ->> 'body_sha256' then
    perform private.fail(409, 'idempotency_conflict', 'This Idempotency-Key was used with another body');
  end if;
  if v_run is not null and not exists (select 1 from public.agent_runs where id = v_run) then
    perform private.fail(409, 'idempotency_conflict', 'The run of this Idempotency-Key was deleted: use a new key for a new run');
  end if;
  return v_run;
end
$$;
