import type { World } from './world.ts'

/** What a run left behind, without ids and times: the same for every way in which it came about. */
export interface Digest {
  status?: string
  errorCode?: string | null
  runs?: number
  [fact: string]: unknown
}

export async function digestOf(world: World): Promise<Digest> {
  const rows = (text: string) => world.sql(text, [world.caller.sub])
  const [run] = await world.sql(
    `select status, error_code, current_phase, total_steps, completed_steps, failed_steps, total_credits_used as credits,
       total_tokens_used as tokens from public.agent_runs where id = $1`,
    [world.runId],
  )
  const ranked =
    'from public.agent_runs r join (select id, row_number() over (order by created_at) as n from public.agent_runs where user_id = $1) o using (id)'
  const [count, steps, messages, logs, ledger, files, artifacts] = await Promise.all([
    rows('select count(*)::integer as runs from public.agent_runs where user_id = $1'),
    rows(`select o.n, s.step_number, s.tool_name, s.status, s.error_code ${ranked} join public.agent_steps s on s.run_id = r.id
      order by 1, 2`),
    rows(`select o.n, m.step_number, m.role, m.content, m.tool_call_id, m.tool_name ${ranked}
      join public.agent_messages m on m.run_id = r.id order by 1, 2, 3, 4`),
    rows(`select o.n, l.log_type, regexp_replace(l.message, '[0-9a-f-]{36}', 'id') as message, l.metadata ->> 'event' as event, s.step_number ${ranked}
      join public.agent_task_logs l on l.run_id = r.id
      left join public.agent_steps s on s.id = (l.metadata ->> 'step_id')::uuid order by 1, 5 nulls first, 4, 3, 2`),
    rows(`select o.n, c.step_number, c.kind, c.available, c.used ${ranked} join private.credit_ledger c on c.run_id = r.id
      order by 1, 2, 3`),
    rows(`select o.n, w.path, w.sha256, w.from_step, w.to_step ${ranked} join private.workspace_files w on w.run_id = r.id
      order by 1, 2, 4`),
    rows(
      `select o.n, a.filename, a.content_hash ${ranked} join public.agent_artifacts a on a.run_id = r.id order by 1, 2`,
    ),
  ])
  const { credits, tokens, error_code, ...shape } = run ?? {}
  return {
    status: String(run?.['status'] ?? 'deleted'),
    errorCode: (error_code ?? null) as string | null,
    runs: Number(count[0]?.['runs']),
    shape,
    steps,
    messages,
    logs,
    files,
    artifacts,
    credits: { credits, ledger },
    tokens,
  }
}

/** The names of the facts in which two digests differ. */
export function differences(a: Digest, b: Digest): string[] {
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].filter(
    (fact) => JSON.stringify(a[fact]) !== JSON.stringify(b[fact]),
  )
}

/** Removes all that a case wrote: the next one is alone, and the invariants stay cheap to ask. */
export async function forget(world: World): Promise<void> {
  const who = [world.caller.sub]
  await world.sql('delete from public.agent_runs where user_id = $1', who)
  await world.sql('delete from private.credit_ledger where user_id = $1', who)
  await world.sql('delete from public.credit_balances where user_id = $1', who)
  await world.sql('delete from private.principals where user_id = $1', who)
  await world.sql('delete from private.jobs_to_remove')
  await world.sql('delete from private.objects_to_remove')
}
