import { RUN_TRANSITIONS, type RunStatus } from '../../../core/run.ts'
import type { Run } from './tables.ts'

/** The trigger run_transition: a defect that would move a run along no legal way is refused, whoever makes it. */
export function setStatus(run: Run, to: RunStatus): void {
  if (run.status !== to && !RUN_TRANSITIONS[run.status].includes(to))
    throw new Error(`run ${run.id} cannot go from ${run.status} to ${to}`)
  run.status = to
}
