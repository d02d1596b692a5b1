import { cancelFlag } from '../contract/live.ts'
import type { Caller } from '../ports/identity.ts'
import type { RunAnswer } from '../ports/store.ts'
import { announce } from './announce.ts'
import { type FrontPorts, principalOf } from './create-run.ts'
import { publishBestEffort } from './publish-best-effort.ts'

/** Longer than any step works on after its run was cancelled: who looks later reads the row. */
export const CANCEL_FLAG_SECONDS = 3600

/** Ends a run at once. The flag and the message only hurry what the row already says; the run's jobs are the step service's. */
export async function cancelRun(ports: FrontPorts, caller: Caller, run_id: string): Promise<RunAnswer> {
  const answer = await ports.store.cancelRun({ principal: principalOf(caller), run_id })
  await Promise.all([
    ports.cache.setFlag(cancelFlag(run_id), CANCEL_FLAG_SECONDS),
    announce(ports.cache, run_id, { t: 'cancelled' }),
    publishBestEffort(ports.scheduler, answer.publications, { log: ports.log, runId: run_id }),
  ])
  return answer
}
