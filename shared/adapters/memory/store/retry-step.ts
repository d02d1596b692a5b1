import { AppError } from '../../../core/errors.ts'
import type { CreateAnswer, VerbStore } from '../../../ports/store.ts'
import { forkRun } from './fork-run.ts'
import { runRow } from './rows.ts'
import { publicationOf } from './steps.ts'
import { type Database, type RunTables, SECOND } from './tables.ts'
import { isIdle } from './verbs.ts'

/** private.retry_step: in place while the step has no result; one that failed or was cancelled is part of what came after it: a fork. */
export function retryStep(
  db: Database,
  who: { userId: string; tenantId: string },
  tables: RunTables,
  { step_number, limits, idempotency }: Omit<Parameters<VerbStore['retryStep']>[0], 'principal' | 'run_id'>,
): CreateAnswer & { forked: boolean } {
  const { run, steps, queue } = tables
  const step = steps[step_number]
  if (step === undefined) throw new AppError('invalid_request', `The run has no step ${step_number}`)
  const queued = queue.get(step_number)
  if (queued !== undefined && step.last_error !== null && isIdle(db, tables, step_number)) {
    const now = db.now()
    const paused = run.status === 'paused'
    step.attempt = 0
    queued.due_at = Math.min(queued.due_at, now)
    queued.publication += 1
    queued.publish_at = paused ? null : now + 20 * SECOND
    const publications = paused ? [] : [publicationOf(db, tables, queued)]
    return { run: runRow(run), publications, forked: false, replayed: false }
  }
  if (step.state !== 'open' && (step.status === 'failed' || step.status === 'cancelled')) {
    const fork = { from_step: step_number, message: null, limits, idempotency }
    return { ...forkRun(db, who, tables, fork), forked: true }
  }
  throw new AppError('invalid_state', `Cannot retry step in status: ${step.status}`)
}
