import type { FinalStatus } from '../../../core/run.ts'
import { settleStep, usedUnits } from './credits.ts'
import { addLogs, type NewLine, stepEvent, stripNulls } from './logs.ts'
import { setStatus } from './set-status.ts'
import { passOn } from './slots.ts'
import { type Database, MAX_DURATION_MS, type RunTables } from './tables.ts'

export interface RunEnd {
  status: FinalStatus
  code: string | null
  message: string | null
  result: string | null
}

/** private.finish_run: what was not started is given back; an attempt in flight keeps its reservation until it is settled. */
export function finishRun(db: Database, tables: RunTables, end: RunEnd): number {
  const { run, steps, queue, waits } = tables
  const now = db.now()
  const lines: NewLine[] = []
  for (const wait of waits.values()) {
    if (wait.kind === 'job' && wait.finished_at === null && wait.job_name !== null)
      if (!db.tables.jobsToRemove.has(wait.job_name))
        db.tables.jobsToRemove.set(wait.job_name, { requested_at: now, handed_out: false })
  }
  for (const step of steps.filter(({ state }) => state === 'open')) {
    if (step.lease_until !== null && step.lease_until > now) step.state = 'settling'
    else {
      // a job that is out has been used; what never started has not
      settleStep(db, tables, step.step_number, waits.get(step.step_number)?.kind === 'job')
      step.state = 'done'
      step.token = null
      step.lease_until = null
    }
    const began = step.status === 'running'
    step.status = began ? 'cancelled' : 'skipped'
    step.completed_at = now
    step.duration_ms =
      step.started_at === null ? null : Math.min(Math.round((now - step.started_at) / 1000), MAX_DURATION_MS)
    if (began) lines.push(stepEvent(step.step_id, step.tool_name, 'cancelled'))
  }
  const left = [...queue.values()]
  queue.clear()
  for (const queued of left) passOn(db, tables, queued)
  for (const wait of waits.values()) wait.finished_at ??= now
  run.deadline_at = null
  run.group_open = 0
  run.paused_from = null
  run.held_at = null
  setStatus(run, end.status)
  run.completed_at = now
  run.current_step_id = null
  run.error_code = end.code
  run.error_message = end.message
  run.credits_used_units = usedUnits(tables)
  if (end.status === 'completed' && run.plan !== null) run.current_phase = run.plan.phases.length
  lines.push(finalLine(tables, end))
  return addLogs(db, tables, lines)
}

function finalLine({ run }: RunTables, { status, code, message, result }: RunEnd): NewLine {
  const data = {
    status,
    result,
    error_code: code,
    error_message: message,
    current_phase: run.current_phase,
    total_phases: run.plan?.phases.length ?? 0,
  }
  const shared = { event: 'final', data: stripNulls(data) }
  if (status === 'completed') return { log_type: 'success', message: 'Run completed', ...shared }
  if (status === 'cancelled') return { log_type: 'state_transition', message: 'Run cancelled', ...shared }
  return { log_type: 'error', message: message ?? `Run ended: ${status}`, ...shared }
}
