import { isFinal } from './is-final.ts'
import { pause } from './pause.ts'
import type { CallOptions, Transport } from './transport.ts'
import type { LogEntry, LogsPage, StatusAnswer } from './types.ts'

export interface LogsOptions extends CallOptions {
  /** A `next_cursor`, or an ISO time: only entries after it. */
  since?: string | undefined
  /** Entries a request, 1 to 500; 100 by default. */
  limit?: number | undefined
}
export interface PollOptions extends LogsOptions {
  /** Pause between two looks at a run with nothing new; 2,000 by default. */
  intervalMs?: number | undefined
}

/** Nobody reads a log faster; each look is a request. */
const INTERVAL_MS = 2000

export function readLogs(
  transport: Transport,
  runId: string,
  { since, limit, ...options }: LogsOptions,
): Promise<LogsPage> {
  const query = new URLSearchParams({ run_id: runId })
  if (since !== undefined) query.set('since', since)
  if (limit !== undefined) query.set('limit', String(limit))
  return transport.json(`/agent/logs?${query}`, options, true)
}

/** Each entry once, in order, until the run has ended and all of it was read. */
export async function* pollLogs(
  transport: Transport,
  runId: string,
  options: PollOptions,
): AsyncGenerator<LogEntry, void, undefined> {
  let since = options.since
  let ended = false
  for (;;) {
    const { logs, has_more, next_cursor } = await readLogs(transport, runId, { ...options, since })
    yield* logs
    since = next_cursor ?? since
    if (has_more || logs.length > 0) continue
    if (ended) return
    const body = {
      run_id: runId,
      include_steps: false,
      include_messages: false,
      include_artifacts: false,
      include_logs: false,
    }
    const { run } = await transport.json<StatusAnswer>('/agent/status', { ...options, body }, true)
    // The last entries may have come between the two looks.
    ended = isFinal(run.status)
    if (!ended) await pause(options.intervalMs ?? INTERVAL_MS, options.signal, transport.sleepers)
  }
}
