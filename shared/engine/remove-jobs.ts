import type { StepDeps } from './step-deps.ts'

/** Stops jobs whose run has ended. One that cannot be removed now is ended by its own deadline. */
export async function removeJobs(
  { sandbox, log }: Pick<StepDeps, 'sandbox' | 'log'>,
  names: readonly string[],
): Promise<void> {
  for (const removal of await Promise.allSettled(names.map((name) => sandbox.remove(name)))) {
    if (removal.status === 'rejected') log.warn({ err: removal.reason }, 'job not removed')
  }
}
