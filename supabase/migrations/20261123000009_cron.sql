-- The sweeper on a hosted project: pg_cron runs it every minute inside the database, and pg_net calls the step function only when
-- something has to be published, so that it keeps nothing awake. Address and secret come from Vault:
--   select vault.create_secret('https://api.example.com/agent/step/sweep', 'agent_sweep_url');
--   select vault.create_secret('<SWEEP_SECRET of the step function>', 'agent_sweep_secret');

create function private.call_sweep() returns void language plpgsql set search_path = '' as $$
declare
  v_due integer := (public.agent_sweep('{}') ->> 'due')::integer;
  v_url text;
  v_secret text;
  v_timestamp text := floor(extract(epoch from clock_timestamp()))::bigint::text;
begin
  if v_due = 0 then return; end if;
  select decrypted_secret into v_url from vault.decrypted_secrets where name = 'agent_sweep_url';
  select decrypted_secret into v_secret from vault.decrypted_secrets where name = 'agent_sweep_secret';
  if v_url is null or v_secret is null then
    raise warning 'steps are due, but Vault has no agent_sweep_url and agent_sweep_secret';
    return;
  end if;
  perform net.http_post(
    url := v_url,
    body := '{}'::jsonb,
    headers := jsonb_build_object('content-type', 'application/json', 'x-agent-timestamp', v_timestamp, 'x-agent-signature',
      encode(extensions.hmac(v_timestamp || '.{}', v_secret, 'sha256'), 'hex')),
    timeout_milliseconds := 30000);
end
$$;
revoke all on function private.call_sweep() from public, anon, authenticated, service_role;

do $$
begin
  if (select count(*) from pg_catalog.pg_available_extensions where name in ('pg_cron', 'pg_net')) < 2 then
    raise notice 'pg_cron or pg_net is not available: POST /agent/step/sweep has to be called by another timer';
    return;
  end if;
  create extension if not exists pg_cron;
  create extension if not exists pg_net;
  -- the same name replaces an earlier schedule
  perform cron.schedule('agent-sweep', '* * * * *', 'select private.call_sweep()');
end
$$;
