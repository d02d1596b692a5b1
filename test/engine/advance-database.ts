/** Every stored time, by table: moved together, so that their order and distances stay as they were. */
const TIMES: Readonly<Record<string, readonly string[]>> = {
  'public.agent_runs': ['created_at', 'started_at', 'completed_at', 'timeout_at'],
  'public.agent_steps': ['created_at', 'started_at', 'completed_at'],
  'public.agent_messages': ['created_at'],
  'public.agent_artifacts': ['created_at', 'expires_at', 'deleted_at'],
  'public.agent_task_logs': ['created_at'],
  'public.agent_task_queue': ['due_at', 'publish_at', 'waiting_since'],
  'private.runs': ['last_log_at', 'held_at', 'deadline_at'],
  'private.steps': ['lease_until'],
  'private.waits': ['confirmed_at', 'deadline_at', 'finished_at'],
  'private.jobs_to_remove': ['requested_at'],
  'private.objects_to_remove': ['not_before', 'handed_at', 'removed_at'],
  'private.idempotency_keys': ['created_at'],
  'private.stream_tickets': ['use_before', 'expires_at'],
}

/** Lets time pass for a database: nothing in it can tell its clock moving on from its rows moving back. Run as `postgres`. */
export async function advanceDatabase(
  sql: (text: string, values?: unknown[]) => Promise<unknown>,
  seconds: number,
): Promise<void> {
  const updates = Object.entries(TIMES).map(
    ([table, columns]) =>
      `update ${table} set ${columns.map((column) => `${column} = ${column} - interval '${seconds} seconds'`).join(', ')};`,
  )
  // A process that a test abandoned may still be in a transaction and hold rows in another order.
  for (let attempt = 1; ; attempt++) {
    try {
      await sql(updates.join('\n')) // one message is one transaction
      return
    } catch (error) {
      if ((error as { code?: unknown }).code !== '40P01' || attempt === 10) throw error
    }
  }
}
