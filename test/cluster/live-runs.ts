import { createRun, type User } from '../system/kit.ts'
import { query } from './database.ts'
import { commandsPrompt } from './model.ts'

export interface RunEnd {
  id: string
  status: string
  error_code: string | null
}

/** Makes so many runs of one user, each with these commands; the last one says the run's number. */
export async function startRuns(user: User, count: number, commands: readonly string[]): Promise<string[]> {
  const ids: string[] = []
  // four at a time, as people come; each is answered when it is stored
  for (let n = 0; n < count; n += 4) {
    const batch = Array.from({ length: Math.min(4, count - n) }, (_, m) =>
      createRun(user, {
        prompt: commandsPrompt([...commands.slice(0, -1), `${commands.at(-1)}; echo run ${n + m}`]),
      }),
    )
    ids.push(...(await Promise.all(batch)))
  }
  return ids
}

/** Waits until all of them have ended, without asking a function: what is measured is not kept awake. */
export async function untilEnded(ids: readonly string[], timeoutMs: number): Promise<RunEnd[]> {
  const until = Date.now() + timeoutMs
  for (;;) {
    const rows = await query<RunEnd>(
      'select id, status, error_code from public.agent_runs where id = any ($1)',
      [ids],
    )
    const open = rows.filter(
      ({ status }) => !['completed', 'failed', 'cancelled', 'timeout'].includes(status),
    )
    if (open.length === 0) return rows
    if (Date.now() > until)
      throw new Error(`${open.length} runs have not ended: ${JSON.stringify(open.slice(0, 5))}`)
    await new Promise((resolve) => setTimeout(resolve, 500))
  }
}

/** Steps of these runs that ended so, by tool. */
export async function stepCounts(ids: readonly string[]): Promise<Record<string, number>> {
  const rows = await query<{ what: string; n: number }>(
    `select coalesce(tool_name, 'model') || ' ' || status || coalesce(' ' || error_code, '') as what, count(*)::int as n
     from public.agent_steps where run_id = any ($1) group by 1`,
    [ids],
  )
  return Object.fromEntries(rows.map(({ what, n }) => [what, n]))
}
