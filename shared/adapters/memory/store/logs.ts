import type { LogType } from '../../../core/run.ts'
import type { Database, RunTables } from './tables.ts'

export interface NewLine {
  log_type: LogType
  message: string
  event?: string | null
  step_id?: string | null
  message_id?: string | null
  artifact_id?: string | null
  data?: unknown
}

const MILLISECOND = 1000

/** private.add_logs: dense numbers, strictly rising times of whole milliseconds. Answers the run's newest number. */
export function addLogs(db: Database, { run, logs }: RunTables, lines: readonly NewLine[]): number {
  const first = Math.floor(Math.max(db.now(), run.last_log_at + MILLISECOND) / MILLISECOND) * MILLISECOND
  for (const [n, { log_type, message, event, step_id, message_id, artifact_id, data }] of lines.entries()) {
    run.log_seq += 1
    logs.push({
      id: db.newId(),
      seq: run.log_seq,
      log_type,
      message,
      metadata: {
        ...(event != null && { event }),
        ...(step_id != null && { step_id }),
        ...(message_id != null && { message_id }),
        ...(artifact_id != null && { artifact_id }),
        ...(data !== undefined && { data }),
      },
      created_at: first + n * MILLISECOND,
    })
  }
  run.last_log_at = first + (lines.length - 1) * MILLISECOND
  return run.log_seq
}

export function runEvent(status: string, current_phase: number, total_phases: number): NewLine {
  return {
    log_type: 'state_transition',
    message: `Run is ${status}`,
    event: 'run',
    data: { status, current_phase, total_phases },
  }
}

export function stepEvent(step_id: string, tool: string, status: string): NewLine {
  return {
    log_type: status === 'completed' ? 'tool_success' : status === 'failed' ? 'tool_error' : 'info',
    message: `${tool} ${status}`,
    event: 'step',
    step_id,
    data: { status },
  }
}

/** jsonb_strip_nulls: objects lose their null fields, at every depth; null items of arrays stay. */
export function stripNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(stripNulls)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, item]) =>
      item === null || item === undefined ? [] : [[key, stripNulls(item)]],
    ),
  )
}
