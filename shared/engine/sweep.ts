import { SWEEP_LIMIT } from '../core/limits.ts'
import { removeJobs } from './remove-jobs.ts'
import { removeObjects } from './remove-objects.ts'
import type { StepDeps } from './step-deps.ts'

/** Publishes what is due and unclaimed, and removes the jobs of runs that have ended and the bytes of those that were deleted. Called by the database's own timer. */
export async function sweep(deps: StepDeps): Promise<{ published: number; removed: number }> {
  const {
    publications,
    jobs_to_remove,
    objects_to_remove = [],
  } = await deps.store.sweepDue({ limit: SWEEP_LIMIT })
  await deps.scheduler.publish(publications)
  await removeJobs(deps, jobs_to_remove)
  await removeObjects(deps, objects_to_remove)
  return { published: publications.length, removed: jobs_to_remove.length }
}
