-- Returns the rows that break a promise of the engine: it must return none, at any moment. Columns: invariant, run_id, detail.
-- Run as the owner of the migrations (row security hides rows from everybody else).

-- 1. A step has at most one result, one charge, one job.
select 'one settlement a step' as invariant, run_id, 'step ' || step_number || ': ' || count(*) as detail
from private.credit_ledger where kind in ('charge', 'refund') group by run_id, step_number having count(*) > 1
union all
select 'one result a step', s.run_id, 'step ' || s.step_number || ' is ' || v.status || ' but ' || s.state
from private.steps s join public.agent_steps v on v.id = s.step_id
where (s.state = 'done') <> (v.status in ('completed', 'failed', 'skipped', 'cancelled')) and s.state <> 'settling'
union all
-- 2. Step numbers are 0..n-1 without gaps, and a model step began after the group before it had ended.
select 'step numbers without gaps', r.run_id, 'next ' || r.next_step || ', steps ' || count(s.step_number) || ', last ' || coalesce(max(s.step_number), -1)
from private.runs r left join private.steps s using (run_id)
group by r.run_id, r.next_step having count(s.step_number) <> r.next_step or coalesce(max(s.step_number), -1) <> r.next_step - 1
union all
select 'groups in order', s.run_id, 'step ' || s.step_number || ' started before step ' || b.step_number || ' ended'
from public.agent_steps s join public.agent_steps b on b.run_id = s.run_id and b.step_number < s.step_number
join private.steps k on k.step_id = s.id
where k.kind = 'model' and s.started_at is not null and (b.completed_at is null or b.completed_at > s.started_at)
union all
select 'no call without its approval', a.run_id, 'step ' || a.step_number
from private.approvals a join private.steps s using (run_id, step_number) where a.approved is not true and s.fence > 0
union all
-- 4. Every run that has not ended has a reason to wake.
select 'a reason to wake', r.id, r.status::text
from public.agent_runs r join private.runs e on e.run_id = r.id
where r.status not in ('completed', 'failed', 'cancelled', 'timeout') and (e.deadline_at is null
  or (r.status in ('queued', 'planning', 'executing') and not exists (
    select 1 from public.agent_task_queue q where q.run_id = r.id and q.publish_at is not null)))
union all
select 'an ended run holds nothing', r.id, r.status::text
from public.agent_runs r join private.runs e on e.run_id = r.id
where r.status in ('completed', 'failed', 'cancelled', 'timeout') and (e.deadline_at is not null
  or exists (select 1 from public.agent_task_queue q where q.run_id = r.id)
  or exists (select 1 from private.waits w where w.run_id = r.id and w.finished_at is null)
  or exists (select 1 from private.steps s where s.run_id = r.id and s.state = 'open'))
union all
select 'an open step is on the queue', s.run_id, 'step ' || s.step_number
from private.steps s where (s.state = 'open') <> exists (
  select 1 from public.agent_task_queue q where q.run_id = s.run_id and q.step_number = s.step_number)
union all
select 'the group counter is its open members', r.run_id, r.group_open || ' counted'
from private.runs r where r.group_open <> (
  select count(*) from private.steps s where s.run_id = r.run_id and s.kind = 'tool' and s.state = 'open')
union all
select 'a call waits for another of its run', q.run_id, 'step ' || q.step_number
from public.agent_task_queue q where q.waits = 'run' and not exists (
  select 1 from public.agent_task_queue o where o.run_id = q.run_id and (o.slot is not null or o.waits = 'tenant'))
union all
-- 5. No run is silent longer than the bound: lease, sweep and the longest republish (limits.ts) together are under 15 minutes.
select 'no run is silent', q.run_id, 'step ' || q.step_number || ' due since ' || q.publish_at
from public.agent_task_queue q where q.publish_at < now() - interval '15 minutes'
union all
-- 7. Ledger and balance agree, nothing is negative, and an ended run has reserved what it spent and got back.
select 'balance is the sum of the ledger', null::uuid, b.user_id::text
from public.credit_balances b join lateral (
  select coalesce(sum(available), 0) as available, coalesce(sum(used), 0) as used from private.credit_ledger l where l.user_id = b.user_id) l on true
where b.available_credits * 10000 <> l.available or b.used_credits * 10000 <> l.used or b.available_credits < 0
union all
select 'a settled run owes nothing', r.id, 'open ' || l.open
from public.agent_runs r join lateral (
  select coalesce(sum(-l.available - l.used), 0) as open from private.credit_ledger l where l.run_id = r.id) l on true
where r.status in ('completed', 'failed', 'cancelled', 'timeout') and l.open <> 0
  and not exists (select 1 from private.steps s where s.run_id = r.id and s.state = 'settling')
union all
select 'credits of the run are its charges', r.id, r.total_credits_used::text
from public.agent_runs r join private.runs e on e.run_id = r.id
where r.total_credits_used * 10000 <> (select coalesce(sum(used), 0) from private.credit_ledger l where l.run_id = r.id)
union all
-- 8. Log numbers are dense and times rise strictly.
select 'log numbers are dense', r.run_id, 'counter ' || r.log_seq || ', rows ' || count(l.seq)
from private.runs r left join public.agent_task_logs l on l.run_id = r.run_id
group by r.run_id, r.log_seq having count(l.seq) <> r.log_seq or coalesce(max(l.seq), 0) <> r.log_seq
union all
select 'log times rise', a.run_id, 'seq ' || a.seq
from public.agent_task_logs a join public.agent_task_logs b on b.run_id = a.run_id and b.seq = a.seq + 1
join private.runs r on r.run_id = a.run_id
where b.created_at <= a.created_at
union all
-- 9. Everything of a run belongs to the owner of the run.
select 'one owner a run', r.id, t.name
from public.agent_runs r join lateral (
  select 'steps' as name from public.agent_steps where run_id = r.id and user_id <> r.user_id
  union all select 'messages' from public.agent_messages where run_id = r.id and user_id <> r.user_id
  union all select 'artifacts' from public.agent_artifacts where run_id = r.id and user_id <> r.user_id
  union all select 'logs' from public.agent_task_logs where run_id = r.id and user_id <> r.user_id) t on true
union all
select 'one current version a file', w.run_id, w.path
from private.workspace_files w where w.to_step is null group by w.run_id, w.path having count(*) > 1
union all
select 'bytes in use are not being removed', w.run_id, w.path
from private.objects_to_remove o join private.workspace_files w on w.sha256 = split_part(o.name, '/', 2)
join private.runs r on r.run_id = w.run_id and r.user_id::text = split_part(o.name, '/', 1)
where o.bucket = 'agent-workspaces' and o.handed_at is not null
union all
select 'counters are what they count', r.id, r.total_steps || '/' || r.completed_steps || '/' || r.failed_steps
from public.agent_runs r join private.runs e on e.run_id = r.id join lateral (
  select count(*) as total, count(*) filter (where s.status = 'completed') as completed, count(*) filter (where s.status = 'failed') as failed
  from public.agent_steps s where s.run_id = r.id) c on true
where (r.total_steps, r.completed_steps, r.failed_steps) is distinct from (c.total, c.completed, c.failed);
