-- What execute, status and logs call (role agent_api). Each takes one jsonb argument, so that a new key is never an overload.
-- The functions belong to agent_front, which sees a user's rows only: "not found" and "not yours" are the same empty answer.

-- Becomes the principal for the rest of this transaction: from here on row security shows its rows and no others.
create function private.act_as(p_principal jsonb) returns uuid language plpgsql set search_path = '' as $$
declare
  v_issuer text := p_principal ->> 'issuer';
  v_sub text := p_principal ->> 'sub';
  v_user uuid;
  v_tenant uuid;
begin
  if coalesce(v_issuer, '') = '' or v_sub is null then
    perform private.fail(401, 'unauthorized', 'A valid user token is required');
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

create function private.tenant_of(p_principal jsonb) returns uuid language sql stable set search_path = '' as $$
  select tenant_id from private.principals where issuer = p_principal ->> 'issuer' and sub = p_principal ->> 'sub'
$$;

-- The run of this principal, or the one answer for "does not exist" and "is not yours".
create function private.own_run(p jsonb) returns public.agent_runs language plpgsql set search_path = '' as $$
declare
  v_run public.agent_runs;
begin
  perform private.act_as(p -> 'principal');
  select * into v_run from public.agent_runs where id = (p ->> 'run_id')::uuid and deleted_at is null;
  if v_run.id is null then
    perform private.fail(404, 'run_not_found', 'Run not found');
  end if;
  return v_run;
end
$$;

create function private.run_answer(p_run uuid, p_publications jsonb) returns jsonb language sql stable set search_path = '' as $$
  select jsonb_build_object('run', to_jsonb(r), 'publications', coalesce(p_publications, '[]')) from public.agent_runs r where r.id = p_run
$$;

-- An earlier create under the same key, if it is younger than 24 hours: its run, or null; another body is a conflict.
create function private.replay(p_user uuid, p_idempotency jsonb) returns uuid language plpgsql set search_path = '' as $$
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
  return v_run;
end
$$;

-- Inserts a run under its idempotency key. A repeat that was running at the same moment waits at the key's row and gets its run.
create function private.create_once(p_user uuid, p_tenant uuid, p jsonb) returns jsonb language plpgsql set search_path = '' as $$
declare
  v_run uuid := private.replay(p_user, p -> 'idempotency');
  v_publications jsonb;
begin
  if v_run is not null then
    return private.run_answer(v_run, private.unclaimed(v_run)) || '{"replayed": true}';
  end if;
  perform private.open_account(p_user, (p ->> 'opening_units')::bigint);
  v_run := gen_random_uuid();
  v_publications := private.insert_run(p_user, p_tenant, v_run, p);
  if jsonb_typeof(p -> 'idempotency') = 'object' then
    begin
      insert into private.idempotency_keys (user_id, key, body_sha256, run_id)
      values (p_user, p -> 'idempotency' ->> 'key', p -> 'idempotency' ->> 'body_sha256', v_run);
    exception when unique_violation then
      -- retried by the caller: the whole transaction is undone, and the next try finds the first one's run
      perform private.fail(503, 'unavailable', 'The same request is being answered');
    end;
  end if;
  return private.run_answer(v_run, v_publications) || '{"replayed": false}';
end
$$;

create function private.start_run(p_run uuid, p jsonb) returns jsonb language plpgsql set search_path = '' as $$
declare
  v_now timestamptz;
  v_status public.agent_run_status;
  v_publications jsonb;
  v_timeout integer;
begin
  select timeout_seconds into v_timeout from private.runs where run_id = p_run for update;
  v_now := clock_timestamp();
  select status into v_status from public.agent_runs where id = p_run;
  if v_status in ('queued', 'planning', 'executing') then
    return private.run_answer(p_run, private.unclaimed(p_run));
  elsif v_status <> 'created' then
    perform private.fail(400, 'invalid_state', 'Cannot start run in status: ' || v_status);
  end if;
  update public.agent_runs set status = 'queued', timeout_at = v_now + v_timeout * interval '1 second' where id = p_run;
  update private.runs set deadline_at = v_now + v_timeout * interval '1 second' where run_id = p_run;
  v_publications := private.add_steps(p_run, jsonb_build_array(p -> 'first_step'), v_now);
  if v_publications is null then
    perform private.fail(402, 'insufficient_credits', 'Insufficient credits');
  end if;
  perform private.add_logs(p_run, jsonb_build_array(private.run_event('queued', 0, 0)));
  return private.run_answer(p_run, v_publications);
end
$$;

create function private.cancel_run(p_run uuid) returns jsonb language plpgsql set search_path = '' as $$
declare
  v_status public.agent_run_status;
  v_jobs jsonb;
  v_publications jsonb;
begin
  perform 1 from private.runs where run_id = p_run for update;
  select status into v_status from public.agent_runs where id = p_run;
  if v_status in ('completed', 'failed', 'cancelled', 'timeout') then
    perform private.fail(400, 'invalid_state', 'Cannot cancel run in status: ' || v_status);
  end if;
  -- A step whose job is out is delivered once more: it finds its run ended and removes the job.
  select coalesce(jsonb_agg(w.job_name), '[]'), coalesce(jsonb_agg(private.publication(q) || jsonb_build_object(
      'publication', q.publication + 1, 'delay_seconds', 0)), '[]') into v_jobs, v_publications
  from private.waits w join public.agent_task_queue q using (run_id, step_number)
  where w.run_id = p_run and w.kind = 'job' and w.finished_at is null;
  perform private.finish_run(p_run, 'cancelled', null, null, null);
  return private.run_answer(p_run, v_publications) || jsonb_build_object('jobs', v_jobs);
end
$$;

-- Neither in work nor out as a job: what a pause holds and a resume sends on its way.
create function private.is_idle(p_run uuid, p_step integer) returns boolean language sql stable set search_path = '' as $$
  select not exists (select 1 from private.steps where run_id = p_run and step_number = p_step and lease_until > clock_timestamp())
    and not exists (select 1 from private.waits where run_id = p_run and step_number = p_step and kind = 'job' and finished_at is null)
$$;

create function private.pause_run(p_run uuid) returns jsonb language plpgsql set search_path = '' as $$
declare
  v_now timestamptz;
  v_row public.agent_runs;
begin
  perform 1 from private.runs where run_id = p_run for update;
  v_now := clock_timestamp();
  select * into v_row from public.agent_runs where id = p_run;
  if v_row.status not in ('queued', 'planning', 'executing', 'waiting_user') then
    perform private.fail(400, 'invalid_state', 'Cannot pause run in status: ' || v_row.status);
  end if;
  update public.agent_runs set status = 'paused' where id = p_run;
  update private.runs set paused_from = v_row.status, held_at = coalesce(held_at, v_now), deadline_at = v_now + interval '30 days' where run_id = p_run;
  -- a job that is out or an attempt in flight finishes; everything else is held
  update public.agent_task_queue q set publish_at = null
  where q.run_id = p_run and private.is_idle(q.run_id, q.step_number);
  perform private.add_logs(p_run, jsonb_build_array(private.run_event('paused', v_row.current_phase, coalesce(jsonb_array_length(v_row.plan -> 'phases'), 0))));
  return private.run_answer(p_run, '[]');
end
$$;

create function private.resume_run(p_run uuid, p_input text) returns jsonb language plpgsql set search_path = '' as $$
declare
  v_now timestamptz;
  v_run private.runs;
  v_row public.agent_runs;
  v_to public.agent_run_status;
  v_publications jsonb;
  v_message uuid := gen_random_uuid();
  v_number integer;
  v_logs jsonb := '[]';
begin
  select * into v_run from private.runs where run_id = p_run for update;
  v_now := clock_timestamp();
  select * into v_row from public.agent_runs where id = p_run;
  if v_row.status not in ('waiting_user', 'paused') then
    perform private.fail(400, 'invalid_state', 'Cannot resume run in status: ' || v_row.status);
  end if;
  v_to := case when v_row.status = 'paused' then v_run.paused_from else 'executing' end;
  -- a question is answered by input; resuming a pause without any goes back to waiting for it
  if v_to = 'waiting_user' and coalesce(p_input, '') <> '' then
    v_to := 'executing';
    update public.agent_runs set status = 'waiting_user' where id = p_run;
  end if;
  if coalesce(p_input, '') <> '' or v_row.status = 'waiting_user' then
    select min(step_number) into v_number from private.steps where run_id = p_run and state = 'open' and kind = 'model';
    perform private.add_messages(p_run, coalesce(v_number, v_run.next_step), null, jsonb_build_array(jsonb_build_object(
      'id', v_message, 'role', 'user', 'content', coalesce(nullif(p_input, ''), 'Please continue.'))));
    v_logs := jsonb_build_array(jsonb_build_object('log_type', 'info', 'message', 'Message from the user', 'event', 'message',
      'message_id', v_message, 'data', jsonb_build_object('kind', 'user')));
  end if;
  update public.agent_runs set status = v_to, timeout_at = timeout_at + (v_now - coalesce(v_run.held_at, v_now)) where id = p_run returning * into v_row;
  if v_to = 'waiting_user' then
    -- what was held so far has been added to its time
    update private.runs set paused_from = null, held_at = v_now where run_id = p_run;
    v_publications := '[]';
  else
    delete from private.waits where run_id = p_run and kind = 'user';
    update private.runs set paused_from = null, held_at = null, deadline_at = v_row.timeout_at where run_id = p_run;
    with woken as (
      update public.agent_task_queue q
      set due_at = least(q.due_at, v_now), publication = q.publication + 1, publish_at = v_now + interval '20 seconds'
      where q.run_id = p_run and private.is_idle(q.run_id, q.step_number)
      returning q.*
    )
    select coalesce(jsonb_agg(private.publication(w::public.agent_task_queue) order by w.step_number), '[]') into v_publications from woken w;
  end if;
  v_logs := v_logs || private.run_event(v_to::text, v_row.current_phase, coalesce(jsonb_array_length(v_row.plan -> 'phases'), 0));
  perform private.add_logs(p_run, v_logs);
  return private.run_answer(p_run, v_publications);
end
$$;

-- A new run like an ended one: same prompt, mode, project, connectors and attached files.
create function private.retry_run(p_user uuid, p_tenant uuid, p_run uuid, p jsonb) returns jsonb language plpgsql set search_path = '' as $$
declare
  v_row public.agent_runs;
begin
  select * into v_row from public.agent_runs where id = p_run;
  if v_row.status not in ('failed', 'timeout', 'cancelled') then
    perform private.fail(400, 'invalid_state', 'Cannot retry run in status: ' || v_row.status);
  end if;
  return private.create_once(p_user, p_tenant, p || jsonb_build_object(
    'prompt', v_row.prompt, 'mode', v_row.mode, 'project_id', v_row.project_id,
    'connector_ids', (select coalesce(jsonb_agg(connector_id), '[]') from public.agent_run_connectors where run_id = p_run),
    'metadata', v_row.metadata || jsonb_build_object('retry_of', p_run), 'memory_context', v_row.config -> 'memory_context',
    'tags', to_jsonb(v_row.tags), 'auto_start', true, 'warnings', '[]'::jsonb,
    'attachments', (select coalesce((select attachments from public.agent_messages where run_id = p_run order by step_number, position limit 1), '[]')),
    'files', (select coalesce(jsonb_agg(jsonb_build_object('path', path, 'sha256', sha256, 'size', size, 'mode', mode)), '[]')
              from private.workspace_files where run_id = p_run and from_step = -1)));
end
$$;

-- The functions of the API. ------------------------------------------------------------------------------------------------------

create function public.agent_prepare_create(p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_user uuid := private.act_as(p -> 'principal');
  v_run uuid := private.replay(v_user, p -> 'idempotency');
begin
  perform private.open_account(v_user, (p ->> 'opening_units')::bigint);
  return jsonb_build_object('user_id', v_user, 'replay',
    case when v_run is not null then private.run_answer(v_run, private.unclaimed(v_run)) || '{"replayed": true}' end);
end
$$;

create function public.agent_create_run(p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_user uuid := private.act_as(p -> 'principal');
begin
  return private.create_once(v_user, private.tenant_of(p -> 'principal'), p);
end
$$;

create function public.agent_start_run(p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_run uuid := (private.own_run(p)).id;
begin
  return private.start_run(v_run, p);
end
$$;

create function public.agent_cancel_run(p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_run uuid := (private.own_run(p)).id;
begin
  return private.cancel_run(v_run);
end
$$;

create function public.agent_pause_run(p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_run uuid := (private.own_run(p)).id;
begin
  return private.pause_run(v_run);
end
$$;

create function public.agent_resume_run(p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_run uuid := (private.own_run(p)).id;
begin
  return private.resume_run(v_run, p ->> 'user_input');
end
$$;

create function public.agent_retry_run(p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_run public.agent_runs := private.own_run(p);
begin
  return private.retry_run(v_run.user_id, private.tenant_of(p -> 'principal'), v_run.id, p);
end
$$;

-- The newest `limit` rows of each list, oldest first; one more is read to know whether there are more.
create function public.agent_read_run(p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_run public.agent_runs := private.own_run(p);
  v_limit integer;
  v_before integer := (p -> 'steps' ->> 'before')::integer;
  v_rows jsonb;
  v_answer jsonb := jsonb_build_object('run', to_jsonb(v_run), 'steps', '[]'::jsonb, 'has_more_steps', false, 'messages', '[]'::jsonb, 'has_more_messages', false,
    'artifacts', '[]'::jsonb, 'has_more_artifacts', false, 'logs', '[]'::jsonb, 'has_more_logs', false);
begin
  if jsonb_typeof(p -> 'steps') = 'object' then
    v_limit := (p -> 'steps' ->> 'limit')::integer;
    select coalesce(jsonb_agg(to_jsonb(t) order by t.step_number), '[]') into v_rows from (
      select * from public.agent_steps where run_id = v_run.id and (v_before is null or step_number < v_before)
      order by step_number desc limit v_limit + 1) t;
    v_answer := v_answer || jsonb_build_object('has_more_steps', jsonb_array_length(v_rows) > v_limit,
      'steps', case when jsonb_array_length(v_rows) > v_limit then v_rows - 0 else v_rows end);
  end if;
  if jsonb_typeof(p -> 'messages') = 'object' then
    v_limit := (p -> 'messages' ->> 'limit')::integer;
    select coalesce(jsonb_agg(to_jsonb(t) - 'position' order by t.step_number, t.position), '[]') into v_rows from (
      select * from public.agent_messages where run_id = v_run.id order by step_number desc, position desc limit v_limit + 1) t;
    v_answer := v_answer || jsonb_build_object('has_more_messages', jsonb_array_length(v_rows) > v_limit,
      'messages', case when jsonb_array_length(v_rows) > v_limit then v_rows - 0 else v_rows end);
  end if;
  if jsonb_typeof(p -> 'artifacts') = 'object' then
    v_limit := (p -> 'artifacts' ->> 'limit')::integer;
    select coalesce(jsonb_agg(to_jsonb(t) order by t.created_at, t.id), '[]') into v_rows from (
      select * from public.agent_artifacts where run_id = v_run.id and deleted_at is null order by created_at desc, id desc limit v_limit + 1) t;
    v_answer := v_answer || jsonb_build_object('has_more_artifacts', jsonb_array_length(v_rows) > v_limit,
      'artifacts', case when jsonb_array_length(v_rows) > v_limit then v_rows - 0 else v_rows end);
  end if;
  if jsonb_typeof(p -> 'logs') = 'object' then
    v_limit := (p -> 'logs' ->> 'limit')::integer;
    select coalesce(jsonb_agg(to_jsonb(t) order by t.seq), '[]') into v_rows from (
      select * from public.agent_task_logs where run_id = v_run.id order by seq desc limit v_limit + 1) t;
    v_answer := v_answer || jsonb_build_object('has_more_logs', jsonb_array_length(v_rows) > v_limit,
      'logs', case when jsonb_array_length(v_rows) > v_limit then v_rows - 0 else v_rows end);
  end if;
  return v_answer;
end
$$;

create function public.agent_read_logs(p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_run public.agent_runs := private.own_run(p);
  v_limit integer := (p ->> 'limit')::integer;
  v_rows jsonb;
begin
  select coalesce(jsonb_agg(to_jsonb(t) order by t.seq), '[]') into v_rows from (
    select * from public.agent_task_logs
    where run_id = v_run.id and seq > coalesce((p ->> 'after_seq')::bigint, 0)
      and created_at > coalesce((p ->> 'after_time')::timestamptz, '-infinity')
    order by seq limit v_limit + 1) t;
  return jsonb_build_object('status', v_run.status, 'has_more', jsonb_array_length(v_rows) > v_limit,
    'logs', case when jsonb_array_length(v_rows) > v_limit then v_rows - v_limit else v_rows end);
end
$$;

create function public.agent_read_events(p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_run public.agent_runs := private.own_run(p);
  v_limit integer := (p ->> 'limit')::integer;
  v_rows jsonb;
  v_now jsonb;
begin
  -- the run as it is in the snapshot of the rows: a reader concludes from both that it has seen the end
  select (select to_jsonb(r) from public.agent_runs r where r.id = v_run.id), coalesce(jsonb_agg(jsonb_build_object('log', to_jsonb(l),
      'step', to_jsonb(s), 'message', to_jsonb(m) - 'position', 'artifact', to_jsonb(a)) order by l.seq), '[]') into v_now, v_rows
  from (select * from public.agent_task_logs where run_id = v_run.id and seq > (p ->> 'after_seq')::bigint order by seq limit v_limit + 1) l
  left join public.agent_steps s on s.id = (l.metadata ->> 'step_id')::uuid
  left join public.agent_messages m on m.id = (l.metadata ->> 'message_id')::uuid
  left join public.agent_artifacts a on a.id = (l.metadata ->> 'artifact_id')::uuid and a.deleted_at is null;
  return jsonb_build_object('run', v_now, 'has_more', jsonb_array_length(v_rows) > v_limit,
    'events', case when jsonb_array_length(v_rows) > v_limit then v_rows - v_limit else v_rows end);
end
$$;

create function public.agent_list_runs(p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_user uuid := private.act_as(p -> 'principal');
  v_limit integer := (p ->> 'limit')::integer;
  v_rows jsonb;
begin
  select coalesce(jsonb_agg(to_jsonb(t) order by t.created_at desc, t.id desc), '[]') into v_rows from (
    select * from public.agent_runs
    where user_id = v_user and deleted_at is null
      and (jsonb_typeof(p -> 'status') is distinct from 'string' or status = (p ->> 'status')::public.agent_run_status)
      and (jsonb_typeof(p -> 'before') is distinct from 'object'
        or (created_at, id) < ((p -> 'before' ->> 'created_at')::timestamptz, (p -> 'before' ->> 'id')::uuid))
    order by created_at desc, id desc limit v_limit + 1) t;
  return jsonb_build_object('has_more', jsonb_array_length(v_rows) > v_limit,
    'runs', case when jsonb_array_length(v_rows) > v_limit then v_rows - v_limit else v_rows end);
end
$$;

create function private.insert_ticket(p_run uuid, p jsonb) returns void language sql set search_path = '' as $$
  insert into private.stream_tickets (ticket_sha256, run_id, issuer, sub, use_before, expires_at)
  values (p ->> 'ticket_sha256', p_run, p -> 'principal' ->> 'issuer', p -> 'principal' ->> 'sub',
    clock_timestamp() + interval '60 seconds', (p ->> 'expires_at')::timestamptz)
$$;

create function public.agent_issue_ticket(p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_run uuid := (private.own_run(p)).id;
begin
  perform private.insert_ticket(v_run, p);
  return '{}';
end
$$;

create function private.use_ticket(p jsonb) returns jsonb language plpgsql set search_path = '' as $$
declare
  v_ticket private.stream_tickets;
begin
  update private.stream_tickets set connection = connection + 1
  where ticket_sha256 = p ->> 'ticket_sha256' and run_id = (p ->> 'run_id')::uuid and expires_at > clock_timestamp()
    and (connection > 0 or use_before > clock_timestamp()) returning * into v_ticket;
  if not found then
    perform private.fail(401, 'unauthorized', 'A valid user token is required');
  end if;
  return jsonb_build_object('connection', v_ticket.connection, 'expires_at', v_ticket.expires_at, 'delivered', v_ticket.delivered,
    'principal', (select jsonb_build_object('issuer', q.issuer, 'sub', q.sub, 'tenant_id', q.tenant_id, 'user_id_from', i.user_id_from)
                  from private.principals q join private.issuers i using (issuer) where q.issuer = v_ticket.issuer and q.sub = v_ticket.sub));
end
$$;

create function public.agent_use_ticket(p jsonb) returns jsonb language sql security definer set search_path = '' as $$
  select private.use_ticket(p)
$$;

create function private.close_ticket(p jsonb) returns void language sql set search_path = '' as $$
  update private.stream_tickets set delivered = true where ticket_sha256 = p ->> 'ticket_sha256' and run_id = (p ->> 'run_id')::uuid
$$;

create function public.agent_close_ticket(p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
begin
  perform private.close_ticket(p);
  return '{}';
end
$$;
