import type { SystemStack } from '../system/kit.ts'
import type { History } from './history.ts'

export interface Verdict {
  violations: string[]
  /** Runs by final status and error code. */
  ends: [string, number][]
  /** Between two rows of one run's log, in seconds. */
  longestSilenceSeconds: number
  stepsCommitted: number
  repeatedAttempts: number
  /** Answers of the model that were sent to the last byte, and those that a step holds: the rest was paid for nothing. */
  modelAnswers: { sent: number; recorded: number }
}

/** Everything that is known about the runs that have not ended. */
export async function stuckRuns(system: SystemStack): Promise<string[]> {
  const rows = await system.query<{ id: string; known: unknown }>(`
    select r.id, jsonb_build_object('status', r.status, 'created', r.created_at, 'now', clock_timestamp(), 'run', to_jsonb(e),
      'queue', (select jsonb_agg(to_jsonb(q)) from public.agent_task_queue q where q.run_id = r.id),
      'steps', (select jsonb_agg(to_jsonb(s) order by s.step_number) from private.steps s where s.run_id = r.id and s.state <> 'done'),
      'waits', (select jsonb_agg(to_jsonb(w) - 'answer') from private.waits w where w.run_id = r.id and w.finished_at is null),
      'logs', (select jsonb_agg(l.message order by l.seq) from public.agent_task_logs l where l.run_id = r.id)) as known
    from public.agent_runs r join private.runs e on e.run_id = r.id
    where r.status not in ('completed', 'failed', 'cancelled', 'timeout') order by r.created_at limit 20`)
  return rows.map(({ id, known }) => `${id}: ${JSON.stringify(known)}`)
}

/** Compares what callers were told with what is there. */
export async function check(system: SystemStack, history: History): Promise<Verdict> {
  const violations: string[] = []
  for (const row of await system.violations()) violations.push(`invariant: ${JSON.stringify(row)}`)
  for (const stuck of await stuckRuns(system)) violations.push(`stuck: ${stuck}`)

  const runs = await system.query<{ id: string; status: string; error_code: string | null; tag: string }>(
    'select id, status, error_code, tags[1] as tag from public.agent_runs',
  )
  const byId = new Map(runs.map((run) => [run.id, run]))
  const byTag = Map.groupBy(runs, ({ tag }) => tag)
  for (const { key, outcome, runId, cancel } of history.creates) {
    const found = byTag.get(key) ?? []
    if (found.length > 1) violations.push(`created ${found.length} times: ${key}`)
    if (outcome === 'ok' && (runId === undefined || !byId.has(runId)))
      violations.push(`acknowledged and lost: run ${runId}`)
    if (outcome === 'fail' && found.length > 0) violations.push(`refused and created all the same: ${key}`)
    if (cancel === 'ok' && byId.get(runId ?? '')?.status !== 'cancelled')
      violations.push(`stopped, but ${byId.get(runId ?? '')?.status}: run ${runId}`)
  }
  const doubled = await system.query<{ what: string; run_id: string }>(`
    select 'end of the run' as what, run_id from public.agent_task_logs where metadata ->> 'event' = 'final'
      group by run_id having count(*) > 1
    union all select 'result of a call', run_id from public.agent_messages where role = 'tool' and tool_call_id is not null
      group by run_id, tool_call_id having count(*) > 1
    union all select 'end of a step', run_id from public.agent_task_logs
      where metadata ->> 'event' = 'step' and metadata -> 'data' ->> 'status' in ('completed', 'failed')
      group by run_id, metadata ->> 'step_id' having count(*) > 1
    union all select 'message of a step', run_id from public.agent_messages where role = 'assistant'
      group by run_id, step_id having count(*) > 1`)
  for (const { what, run_id } of doubled) violations.push(`recorded twice: ${what} of run ${run_id}`)

  const [facts] = await system.query<{ silence: number; steps: number; attempts: number; answers: number }>(`
    select (select coalesce(max(gap), 0)::float from (select extract(epoch from created_at - lag(created_at) over (partition by run_id order by seq)) as gap
        from public.agent_task_logs) g) as silence,
      (select count(*)::int from public.agent_steps where status in ('completed', 'failed')) as steps,
      (select coalesce(sum(attempt - 1), 0)::int from private.steps where attempt > 1) as attempts,
      (select count(*)::int from private.steps e join public.agent_steps s on s.id = e.step_id where e.kind = 'model' and s.status = 'completed') as answers`)
  const ends = Map.groupBy(runs, ({ status, error_code }) => `${status} ${error_code ?? ''}`.trim())
  return {
    violations,
    ends: [...ends].map(([end, list]) => [end, list.length]),
    longestSilenceSeconds: facts?.silence ?? 0,
    stepsCommitted: facts?.steps ?? 0,
    repeatedAttempts: facts?.attempts ?? 0,
    modelAnswers: { sent: system.stack().modelAnswers(), recorded: facts?.answers ?? 0 },
  }
}
