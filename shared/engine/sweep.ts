import { SWEEP_LIMIT } from '../core/limits.ts'
import { removeJobs } from './remove-jobs.ts'
import { removeObjects } from './remove-objects.ts'
import type { StepDeps } from './step-deps.ts'

export interface Swept {
  published: number
  removed: number
  /** Runs that the database could not end or settle. */
  failed: number
  /** Broken invariants that nobody has dealt with. */
  violations: number
}

/** Publishes what is due and unclaimed, and removes the jobs of runs that have ended and the bytes of those that were deleted. Called by the database's own timer. */
export async function sweep(deps: StepDeps): Promise<Swept> {
  await deps
    .retention?.()
    .catch((err: unknown) => deps.log.warn({ err }, 'the database was not told how long runs are kept'))
  const {
    publications,
    jobs_to_remove,
    failed = 0,
    violations = 0,
    new_violations = [],
    objects_to_remove = [],
  } = await deps.store.sweepDue({ limit: SWEEP_LIMIT })
  for (const { run_id, invariant } of new_violations) {
    // what exactly is wrong may name a user's file: it stays in the database
    const at = run_id === null ? {} : { run_id }
    deps.log.error({ ...at, code: 'invariant_broken', outcome: invariant }, 'see private.violations')
  }
  if (violations > 0) deps.log.error({ code: 'violations', count: violations }, 'invariants are broken')
  if (failed > 0) deps.log.error({ code: 'sweep_failed', count: failed }, 'see private.sweep_faults')
  await deps.scheduler.publish(publications)
  await removeJobs(deps, jobs_to_remove)
  await removeObjects(deps, objects_to_remove)
  return { published: publications.length, removed: jobs_to_remove.length, failed, violations }
}
