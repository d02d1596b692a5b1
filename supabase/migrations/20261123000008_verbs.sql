-- More verbs: fork, retry of a step, delete, and verbs for all runs of a tag. With delete come the bytes that nothing refers to any
-- more: they are listed here and removed by the step service.

-- Objects of Storage to remove. A row is handed out again until its removal is confirmed; a removed one stays listed for ten minutes,
-- so that a file whose upload found the old bytes still there is refused and uploaded again.
create table private.objects_to_remove (
  bucket text not null,
  name text not null,
  not_before timestamptz not null default clock_timestamp(),
  handed_at timestamptz,
  removed_at timestamptz,
  primary key (bucket, name)
);
create index objects_to_remove_due on private.objects_to_remove (not_before) where removed_at is null;
create index workspace_files_blob on private.workspace_files (sha256);
create index agent_runs_tags on public.agent_runs using gin (tags) where tags <> '{}';
create index agent_runs_retry_of on public.agent_runs ((metadata ->> 'retry_of')) where metadata ? 'retry_of';
grant select, insert, update, delete on private.objects_to_remove to agent_engine;

-- A blob that is in use (again) is not removed; one that is just being removed cannot be used until it is gone and uploaded again.
create function private.keep_blob(p_user uuid, p_sha256 text) returns void language plpgsql set search_path = '' as $$
begin
  delete from private.objects_to_remove
  where bucket = 'agent-workspaces' and name = p_user || '/' || p_sha256 and handed_at is null;
  if exists (select 1 from private.objects_to_remove where bucket = 'agent-workspaces' and name = p_user || '/' || p_sha256) then
    perform private.fail(503, 'unavailable', 'A file of the same content is being removed');
  end if;
end
$$;

create function private.keep_blobs() returns trigger language plpgsql set search_path = '' as $$
begin
  perform private.keep_blob(r.user_id, a.sha256)
  from added a join private.runs r using (run_id) join private.objects_to_remove o
    on o.bucket = 'agent-workspaces' and o.name = r.user_id || '/' || a.sha256;
  return null;
end
$$;
create trigger keep_blobs after insert on private.workspace_files referencing new table as added
  for each statement execute function private.keep_blobs();

-- The step service may delete what is listed, and nothing else.
create function private.is_to_remove(p_bucket text, p_name text) returns boolean language sql stable security definer set search_path = '' as $$
  select exists (select 1 from private.objects_to_remove where bucket = p_bucket and name = p_name and handed_at is not null)
$$;
grant delete on storage.objects to agent_step;
create policy agent_service_remove on storage.objects for delete to agent_step
  using (bucket_id in ('agent-workspaces', 'agent-outputs') and private.is_to_remove(bucket_id, name));

-- A writer whose run was deleted meanwhile is stale like any other.
create or replace function private.stale(p_run uuid) returns jsonb language sql stable set search_path = '' as $$
  select coalesce((
    select jsonb_build_object('committed', false, 'run_status', r.status, 'publications', '[]'::jsonb, 'log_seq', e.log_seq)
    from public.agent_runs r join private.runs e on e.run_id = r.id where r.id = p_run),
    '{"committed": false, "run_status": "cancelled", "publications": [], "log_seq": 0}')
$$;

-- Fork: a new run that shares the history before a step. ---------------------------------------------------------------------------

-- p: {from_step, message, limits, idempotency}. Steps before `from_step` are copied as done, with their messages and file versions
-- (bytes are shared: same owner); the step itself, of a group it and those after it, is done anew. Copies cost nothing.
create function private.fork_run(p_user uuid, p_tenant uuid, p_run uuid, p jsonb) returns jsonb language plpgsql set search_path = '' as $$
declare
  v_now timestamptz := clock_timestamp();
  v_new uuid := private.replay(p_user, p -> 'idempotency');
  v_from integer := (p ->> 'from_step')::integer;
  v_message text := nullif(p ->> 'message', '');
  v_timeout integer := (p -> 'limits' ->> 'timeout_seconds')::integer;
  v_max integer := (p -> 'limits' ->> 'max_steps')::integer;
  v_row public.agent_runs;
  v_step private.steps;
  v_visible public.agent_steps;
  v_first bigint;
  v_last integer;
  v_plan jsonb;
  v_steps jsonb;
  v_publications jsonb;
begin
  if v_new is not null then
    return private.run_answer(v_new, private.unclaimed(v_new)) || '{"replayed": true}';
  end if;
  -- nothing of the run may move or be deleted while it is copied
  perform 1 from private.runs where run_id = p_run for share;
  if not found then
    perform private.fail(400, 'invalid_state', 'This run cannot be forked: it was made by an earlier version or is just being deleted');
  end if;
  select * into v_row from public.agent_runs where id = p_run;
  select * into v_step from private.steps where run_id = p_run and step_number = v_from;
  if not found then
    perform private.fail(400, 'invalid_request', 'The run has no step ' || v_from);
  end if;
  select * into v_visible from public.agent_steps where id = v_step.step_id;
  if exists (select 1 from public.agent_steps where run_id = p_run and step_number < v_from and status not in ('completed', 'failed')) then
    perform private.fail(400, 'invalid_state', 'Cannot fork at step ' || v_from || ': a step before it has not come to its end');
  end if;
  if v_step.kind = 'tool' and v_message is not null then
    perform private.fail(400, 'invalid_request', 'Step ' || v_from || ' is a tool call: a message can only come before a step that asks the model');
  end if;
  if v_message is null and exists (select 1 from private.waits where run_id = p_run and step_number = v_from and kind = 'user') then
    perform private.fail(400, 'invalid_state', 'Step ' || v_from || ' waits for an answer: fork it with a message');
  end if;

  v_last := case v_step.kind when 'model' then v_from else coalesce((select min(step_number) - 1 from private.steps
    where run_id = p_run and step_number > v_from and kind = 'model'), (select max(step_number) from private.steps where run_id = p_run)) end;
  select jsonb_agg(jsonb_build_object('kind', s.kind, 'tool_type', v.tool_type, 'tool_name', v.tool_name, 'tool_input', v.tool_input,
      'tool_call_id', s.tool_call_id, 'phase_number', v.phase_number, 'cost_units', s.cost) order by s.step_number)
  into v_steps from private.steps s join public.agent_steps v on v.id = s.step_id
  where s.run_id = p_run and s.step_number between v_from and v_last;
  select tool_output -> 'plan' into v_plan from public.agent_steps
  where run_id = p_run and step_number < v_from and tool_name in ('plan', 'replan') and status = 'completed' order by step_number desc limit 1;
  select min(position) into v_first from public.agent_messages where run_id = p_run and step_number = 0;

  v_new := gen_random_uuid();
  -- with a plan there is nothing to queue for: the run goes on executing, as planning ends with a commit that it will not make
  insert into public.agent_runs (id, user_id, tenant_id, project_id, prompt, mode, config, status, plan, plan_version, estimated_credits,
    current_phase, total_steps, completed_steps, failed_steps, created_at, timeout_at, metadata, tags)
  select v_new, p_user, p_tenant, v_row.project_id, case when v_from = 0 then coalesce(v_message, v_row.prompt) else v_row.prompt end, v_row.mode,
    jsonb_build_object('limits', p -> 'limits', 'memory_context', v_row.config -> 'memory_context'),
    case when v_plan is null then 'queued' else 'executing' end::public.agent_run_status, v_plan, (v_plan is not null)::integer,
    (v_plan ->> 'total_estimated_credits')::numeric, v_visible.phase_number, v_from, count(*) filter (where status = 'completed'),
    count(*) filter (where status = 'failed'), v_now, v_now + v_timeout * interval '1 second',
    v_row.metadata - 'retry_of' || jsonb_build_object('fork_of', p_run, 'fork_step', v_from), v_row.tags
  from public.agent_steps where run_id = p_run and step_number < v_from;
  -- the limit is for the steps it takes itself
  insert into private.runs (run_id, user_id, tenant_id, next_step, max_steps, timeout_seconds, deadline_at)
  values (v_new, p_user, p_tenant, v_from, v_from + v_max, v_timeout, v_now + v_timeout * interval '1 second');
  insert into public.agent_run_connectors (run_id, connector_id, user_id)
  select v_new, connector_id, p_user from public.agent_run_connectors where run_id = p_run;

  insert into public.agent_steps (run_id, user_id, step_number, phase_number, tool_type, tool_name, tool_input, status, tool_output, output_text,
    created_at, started_at, completed_at, duration_ms, error_message, error_code, retry_count, idempotency_key, metadata)
  select v_new, p_user, step_number, phase_number, tool_type, tool_name, tool_input, status, tool_output, output_text,
    created_at, started_at, completed_at, duration_ms, error_message, error_code, retry_count, v_new || ':' || step_number,
    metadata || jsonb_build_object('copy_of', id)
  from public.agent_steps where run_id = p_run and step_number < v_from;
  insert into private.steps (run_id, step_number, step_id, kind, tool_call_id, state, attempt, cost)
  select v_new, o.step_number, n.id, o.kind, o.tool_call_id, 'done', o.attempt, 0
  from private.steps o join public.agent_steps n on n.run_id = v_new and n.step_number = o.step_number where o.run_id = p_run;

  -- What a user said before the step (no step wrote it) stays, unless it is what the new message replaces; a prompt keeps its files.
  insert into public.agent_messages (run_id, user_id, step_id, step_number, role, content, tool_call_id, tool_name, attachments, metadata, created_at)
  select v_new, p_user, n.id, m.step_number, m.role,
    case when v_from = 0 and m.position = v_first then coalesce(v_message, m.content) else m.content end,
    m.tool_call_id, m.tool_name, m.attachments, m.metadata, m.created_at
  from public.agent_messages m left join public.agent_steps o on o.id = m.step_id
  left join public.agent_steps n on n.run_id = v_new and n.step_number = o.step_number
  where m.run_id = p_run and (m.step_number < v_from
    or (m.step_number = v_from and m.step_id is null and (v_message is null or m.position = v_first)))
  order by m.step_number, m.position;
  update private.runs set messages = (select count(*) from public.agent_messages where run_id = v_new) where run_id = v_new;
  if v_message is not null and v_from > 0 then
    perform private.add_messages(v_new, v_from, null, jsonb_build_array(jsonb_build_object('role', 'user', 'content', v_message)));
  end if;

  -- Members of a group commit in any order, so that two versions can stand at one number: the later member's is the file.
  insert into private.workspace_files (run_id, path, from_step, to_step, sha256, size, mode)
  select v_new, path, from_step, case when to_step < v_from then to_step
      else lead(from_step) over (partition by path, to_step is null or to_step >= v_from order by from_step) end, sha256, size, mode
  from private.workspace_files where run_id = p_run and from_step < v_from;
  update private.runs set (files, bytes) = (select count(*), coalesce(sum(size), 0) from private.workspace_files where run_id = v_new and to_step is null)
  where run_id = v_new;

  v_publications := private.add_steps(v_new, v_steps, v_now);
  if v_publications is null then
    perform private.fail(402, 'insufficient_credits', 'Insufficient credits');
  end if;
  if v_step.kind = 'tool' then
    update private.runs set group_open = jsonb_array_length(v_steps) where run_id = v_new;
  end if;
  perform private.add_logs(v_new, jsonb_build_array(
    private.run_event(case when v_plan is null then 'queued' else 'executing' end, v_visible.phase_number, coalesce(jsonb_array_length(v_plan -> 'phases'), 0)),
    jsonb_build_object('log_type', 'info', 'message', 'Forked at step ' || v_from || ' of run ' || p_run, 'event', 'fork',
      'data', jsonb_build_object('run_id', p_run, 'step_number', v_from))));
  if jsonb_typeof(p -> 'idempotency') = 'object' then
    begin
      insert into private.idempotency_keys (user_id, key, body_sha256, run_id)
      values (p_user, p -> 'idempotency' ->> 'key', p -> 'idempotency' ->> 'body_sha256', v_new);
    exception when unique_violation then
      perform private.fail(503, 'unavailable', 'The same request is being answered');
    end;
  end if;
  return private.run_answer(v_new, v_publications) || '{"replayed": false}';
end
$$;

-- Retries one step. In place while its result does not exist yet: the step is open, has failed an attempt, and nobody works on it;
-- it is due at once, with its attempts before it. A step that failed or was cancelled is part of what came after it: that is a fork.
create function private.retry_step(p_user uuid, p_tenant uuid, p_run uuid, p jsonb) returns jsonb language plpgsql set search_path = '' as $$
declare
  v_now timestamptz;
  v_number integer := (p ->> 'step_number')::integer;
  v_step private.steps;
  v_status public.agent_step_status;
  v_paused boolean;
  v_queue public.agent_task_queue;
begin
  perform 1 from private.runs where run_id = p_run for update;
  v_now := clock_timestamp();
  select * into v_step from private.steps where run_id = p_run and step_number = v_number;
  if not found then
    perform private.fail(400, 'invalid_request', 'The run has no step ' || v_number);
  end if;
  select status into v_status from public.agent_steps where id = v_step.step_id;
  if v_step.state = 'open' and v_step.last_error is not null and private.is_idle(p_run, v_number) then
    v_paused := exists (select 1 from public.agent_runs where id = p_run and status = 'paused');
    update private.steps set attempt = 0 where run_id = p_run and step_number = v_number;
    update public.agent_task_queue set due_at = least(due_at, v_now), publication = publication + 1,
      publish_at = case when not v_paused then v_now + interval '20 seconds' end
    where run_id = p_run and step_number = v_number returning * into v_queue;
    return private.run_answer(p_run, case when v_paused then '[]' else jsonb_build_array(private.publication(v_queue)) end)
      || '{"forked": false, "replayed": false}';
  elsif v_step.state <> 'open' and v_status in ('failed', 'cancelled') then
    return private.fork_run(p_user, p_tenant, p_run, p || jsonb_build_object('from_step', v_number, 'message', null)) || '{"forked": true}';
  end if;
  perform private.fail(400, 'invalid_state', 'Cannot retry step in status: ' || v_status);
end
$$;

-- Delete: everything of an ended run. ----------------------------------------------------------------------------------------------

-- The ledger stays: it is the user's, and says what was paid. Blobs that no other run of the user refers to are listed for removal
-- after 25 hours: a job may run for 24, and one that has found its bytes in Storage already may still name them when it ends.
create function private.delete_run(p_user uuid, p_run uuid) returns jsonb language plpgsql set search_path = '' as $$
declare
  v_row public.agent_runs;
  v_step record;
begin
  perform 1 from private.runs where run_id = p_run for update;
  select * into v_row from public.agent_runs where id = p_run for update;
  if not found then
    perform private.fail(404, 'run_not_found', 'Run not found');
  elsif v_row.status not in ('completed', 'failed', 'cancelled', 'timeout') then
    perform private.fail(400, 'invalid_state', 'Cannot delete run in status: ' || v_row.status);
  end if;
  -- of two deletes at once the second must see what the first has left
  perform pg_advisory_xact_lock(hashtextextended('delete runs of ' || p_user, 0));
  for v_step in select step_number from private.steps where run_id = p_run and state = 'settling' loop
    perform private.settle_step(p_run, v_step.step_number, true);
  end loop;
  insert into private.objects_to_remove (bucket, name, not_before)
  select distinct 'agent-workspaces', p_user || '/' || w.sha256, clock_timestamp() + interval '25 hours'
  from private.workspace_files w
  where w.run_id = p_run and not exists (
    select 1 from private.workspace_files o join private.runs r using (run_id) where o.sha256 = w.sha256 and o.run_id <> p_run and r.user_id = p_user)
  on conflict do nothing;
  insert into private.objects_to_remove (bucket, name)
  select distinct a.storage_bucket, a.storage_key from public.agent_artifacts a
  where a.run_id = p_run and a.storage_bucket = 'agent-outputs' and starts_with(a.storage_key, p_user || '/')
    and not exists (select 1 from public.agent_artifacts o where o.user_id = p_user and o.run_id <> p_run and o.storage_bucket = a.storage_bucket
                    and o.storage_key = a.storage_key)
  on conflict do nothing;
  delete from public.agent_runs where id = p_run;
  return jsonb_build_object('run', to_jsonb(v_row), 'publications', '[]'::jsonb);
end
$$;

-- Verbs for all runs of a tag. -----------------------------------------------------------------------------------------------------

-- p: {tag, verb, limits, opening_units, first_step}. The oldest 100 runs of the tag in a state that the verb is for; each succeeds or
-- fails by itself. Returns {results: [{run_id, ok, status?, new_run_id?, code?, message?}], publications, jobs, has_more}.
create function private.bulk_runs(p_user uuid, p_tenant uuid, p jsonb) returns jsonb language plpgsql set search_path = '' as $$
declare
  c_limit constant integer := 100;
  v_verb text := p ->> 'verb';
  v_statuses public.agent_run_status[] := case p ->> 'verb'
    when 'stop' then '{created,queued,planning,executing,waiting_user,paused}'
    when 'pause' then '{queued,planning,executing,waiting_user}'
    when 'resume' then '{paused}'
    when 'retry' then '{failed,timeout,cancelled}'
    when 'delete' then '{completed,failed,cancelled,timeout}' end;
  v_ids uuid[];
  v_id uuid;
  v_answer jsonb;
  v_results jsonb := '[]';
  v_publications jsonb := '[]';
  v_jobs jsonb := '[]';
  v_message text;
  v_hint text;
  v_state text;
begin
  if v_statuses is null then
    perform private.fail(400, 'invalid_request', 'There is no bulk ' || coalesce(v_verb, 'verb'));
  end if;
  select array_agg(id order by created_at, id) into v_ids from (
    select r.id, r.created_at from public.agent_runs r
    where r.tags <> '{}' and r.tags @> array[p ->> 'tag'] and r.user_id = p_user and r.deleted_at is null and r.status = any (v_statuses)
      -- what was retried before is not retried again by the next call
      and (v_verb <> 'retry' or not exists (
        select 1 from public.agent_runs n where n.metadata ? 'retry_of' and n.metadata ->> 'retry_of' = r.id::text and n.user_id = p_user))
    order by r.created_at, r.id limit c_limit + 1) t;
  -- All runs are locked before anything else is: one that asked for a run while it held the user's balance would wait in a circle.
  perform 1 from private.runs where run_id = any (v_ids[1:c_limit]) order by run_id for update;
  foreach v_id in array coalesce(v_ids[1:c_limit], '{}') loop
    begin
      v_answer := case v_verb
        when 'stop' then private.cancel_run(v_id)
        when 'pause' then private.pause_run(v_id)
        when 'resume' then private.resume_run(v_id, null)
        when 'retry' then private.retry_run(p_user, p_tenant, v_id, p || '{"idempotency": null}')
        when 'delete' then private.delete_run(p_user, v_id) end;
      v_publications := v_publications || (v_answer -> 'publications');
      v_jobs := v_jobs || coalesce(v_answer -> 'jobs', '[]');
      v_results := v_results || (jsonb_build_object('run_id', v_id, 'ok', true, 'status', v_answer -> 'run' -> 'status')
        || case when v_verb = 'retry' then jsonb_build_object('new_run_id', v_answer -> 'run' -> 'id') else '{}' end);
    exception when others then
      get stacked diagnostics v_message = message_text, v_hint = pg_exception_hint, v_state = returned_sqlstate;
      -- only what the verb itself refuses is a result; anything else is a fault of the whole call
      if v_state not like 'PT4%' then raise; end if;
      v_results := v_results || jsonb_build_object('run_id', v_id, 'ok', false, 'code', v_hint, 'message', v_message);
    end;
  end loop;
  return jsonb_build_object('results', v_results, 'publications', v_publications, 'jobs', v_jobs, 'has_more', coalesce(cardinality(v_ids), 0) > c_limit);
end
$$;

-- The functions of the API. --------------------------------------------------------------------------------------------------------

create function public.agent_fork_run(p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_run public.agent_runs := private.own_run(p);
begin
  return private.fork_run(v_run.user_id, private.tenant_of(p -> 'principal'), v_run.id, p);
end
$$;

create function public.agent_retry_step(p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_run public.agent_runs := private.own_run(p);
begin
  return private.retry_step(v_run.user_id, private.tenant_of(p -> 'principal'), v_run.id, p);
end
$$;

create function public.agent_delete_run(p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_run public.agent_runs := private.own_run(p);
begin
  return private.delete_run(v_run.user_id, v_run.id);
end
$$;

create function public.agent_bulk_runs(p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_user uuid := private.act_as(p -> 'principal');
begin
  return private.bulk_runs(v_user, private.tenant_of(p -> 'principal'), p);
end
$$;

-- What the step service calls. -----------------------------------------------------------------------------------------------------

-- The earlier functions stay as inner ones; those in their place add what has to do with bytes.
alter function public.agent_check_job(jsonb) set schema private;
alter function private.agent_check_job(jsonb) rename to check_job;
alter function private.check_job(jsonb) security invoker;
alter function public.agent_sweep(jsonb) set schema private;
alter function private.agent_sweep(jsonb) rename to sweep;
alter function private.sweep(jsonb) security invoker;
alter function public.agent_sweep_due(jsonb) set schema private;
alter function private.agent_sweep_due(jsonb) rename to sweep_due;
alter function private.sweep_due(jsonb) security invoker;

-- With `storing`, bytes of this hash are about to be stored for this job.
create function public.agent_check_job(p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_answer jsonb := private.check_job(p);
begin
  if (p ->> 'storing')::boolean then
    perform private.keep_blob((v_answer ->> 'user_id')::uuid, p ->> 'sha256');
  end if;
  return v_answer;
end
$$;

create function private.objects_due(p_limit integer) returns setof private.objects_to_remove language sql stable set search_path = '' as $$
  select * from private.objects_to_remove
  where removed_at is null and not_before <= clock_timestamp() and (handed_at is null or handed_at < clock_timestamp() - interval '1 minute')
  order by not_before limit p_limit
$$;

create function public.agent_sweep(p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_swept jsonb := private.sweep(p);
begin
  delete from private.objects_to_remove where ctid in (
    select ctid from private.objects_to_remove where removed_at < clock_timestamp() - interval '10 minutes' limit 1000);
  -- a commit that was on its way when its blob was listed was not seen by the delete, nor the list by the commit
  delete from private.objects_to_remove where ctid in (
    select o.ctid from private.objects_to_remove o
    where o.bucket = 'agent-workspaces' and o.handed_at is null and o.not_before <= clock_timestamp() and exists (
      select 1 from private.workspace_files w join private.runs r using (run_id)
      where w.sha256 = split_part(o.name, '/', 2) and r.user_id::text = split_part(o.name, '/', 1)) limit 1000);
  return v_swept || jsonb_build_object('due', (v_swept ->> 'due')::integer + (select count(*) from private.objects_due(1000)));
end
$$;

create function public.agent_sweep_due(p jsonb) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_due jsonb := private.sweep_due(p);
  v_objects jsonb;
begin
  with handed as (
    update private.objects_to_remove o set handed_at = clock_timestamp()
    from (select t.bucket, t.name from private.objects_to_remove t join private.objects_due((p ->> 'limit')::integer) d using (bucket, name)
          for update of t skip locked) d
    where o.bucket = d.bucket and o.name = d.name returning o.bucket, o.name
  )
  select coalesce(jsonb_agg(jsonb_build_object('bucket', bucket, 'name', name)), '[]') into v_objects from handed;
  return v_due || jsonb_build_object('objects_to_remove', v_objects);
end
$$;

create function public.agent_objects_removed(p jsonb) returns jsonb language sql security definer set search_path = '' as $$
  update private.objects_to_remove o set removed_at = clock_timestamp()
  from jsonb_array_elements(p -> 'objects') r where o.bucket = r ->> 'bucket' and o.name = r ->> 'name' and o.handed_at is not null;
  select '{}'::jsonb
$$;

-- Owners and grants, as for the functions before.
grant create on schema public, private to agent_engine, agent_front;
do $$
declare
  v_name text;
  v_front text[] := array['agent_fork_run', 'agent_retry_step', 'agent_delete_run', 'agent_bulk_runs'];
  v_step text[] := array['agent_check_job', 'agent_sweep', 'agent_sweep_due', 'agent_objects_removed'];
  v_inner text[] := array['fork_run(uuid, uuid, uuid, jsonb)', 'retry_step(uuid, uuid, uuid, jsonb)', 'delete_run(uuid, uuid)',
    'bulk_runs(uuid, uuid, jsonb)'];
  v_engine text[] := array['keep_blob(uuid, text)', 'keep_blobs()', 'is_to_remove(text, text)', 'objects_due(integer)', 'check_job(jsonb)',
    'sweep(jsonb)', 'sweep_due(jsonb)'];
begin
  foreach v_name in array v_front || v_step loop
    execute format('alter function public.%I(jsonb) owner to %I', v_name, case when v_name = any (v_front) then 'agent_front' else 'agent_engine' end);
    execute format('revoke all on function public.%I(jsonb) from public, anon, authenticated, service_role', v_name);
    execute format('grant execute on function public.%I(jsonb) to %I', v_name, case when v_name = any (v_front) then 'agent_api' else 'agent_step' end);
  end loop;
  execute format('grant execute on function public.agent_sweep(jsonb) to %I', current_user);
  foreach v_name in array v_inner || v_engine loop
    execute 'alter function private.' || v_name || ' owner to agent_engine';
    execute 'revoke all on function private.' || v_name || ' from public, anon, authenticated, service_role, agent_step';
  end loop;
  -- what agent_front reaches into, on a run that row security has shown to be the caller's
  foreach v_name in array v_inner loop
    execute 'alter function private.' || v_name || ' security definer';
    execute 'grant execute on function private.' || v_name || ' to agent_front';
  end loop;
  -- a policy's function runs for the role that the policy is for
  grant execute on function private.is_to_remove(text, text) to agent_step;
  execute format('revoke all on function private.sweep(jsonb) from %I', current_user);
end
$$;
revoke create on schema public, private from agent_engine, agent_front;
