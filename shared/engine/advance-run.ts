import type { Claim, CommitAnswer } from '../ports/store.ts'
import { sendLive } from './live.ts'
import { modelStep } from './model-step.ts'
import { removeJobs } from './remove-jobs.ts'
import type { StepDeps } from './step-deps.ts'
import { checkJob, toolStep } from './tool-step.ts'

export type Advance =
  | { outcome: 'committed' | 'stale' | 'done' | 'final' | 'paused' | 'not_due' | 'unknown' | 'switched_off' }
  | { outcome: 'leased'; retryAfterSeconds: number }

/**
 * One delivery of "step n of run r is due": one claim, one commit, one publish. Rejects when the delivery has to be repeated: then
 * nothing is lost, as whatever was committed is published by the repeat or by the sweeper.
 */
export async function advanceRun(
  deps: StepDeps,
  message: { run_id: string; step_number: number },
): Promise<Advance> {
  const answer = await deps.store.claimStep({ ...message, lease_seconds: deps.settings.leaseSeconds })
  if (!('claim' in answer)) {
    if (answer.refused === 'final') await removeJobs(deps, answer.jobs_to_remove)
    await deps.scheduler.publish(answer.publications)
    return answer.refused === 'leased'
      ? { outcome: 'leased', retryAfterSeconds: answer.retry_after_seconds }
      : { outcome: answer.refused }
  }
  const { claim } = answer
  // readers see the step begin; nobody waits for that
  void sendLive(deps.cache, message.run_id, [{ t: 'rows', seq: claim.log_seq }])
  const written = await carryOut(deps, claim)
  await announce(deps, message.run_id, written)
  return { outcome: written.committed ? 'committed' : 'stale' }
}

function carryOut(deps: StepDeps, claim: Claim): Promise<CommitAnswer> {
  if (claim.step.job !== null) return checkJob(deps, claim)
  return claim.step.kind === 'model' ? modelStep(deps, claim) : toolStep(deps, claim)
}

/** After a commit: the next steps go to the scheduler, readers hear of new rows. */
export async function announce(
  deps: Pick<StepDeps, 'scheduler' | 'cache'>,
  runId: string,
  { publications, log_seq }: Pick<CommitAnswer, 'publications' | 'log_seq'>,
): Promise<void> {
  await Promise.all([
    deps.scheduler.publish(publications),
    sendLive(deps.cache, runId, [{ t: 'rows', seq: log_seq }]),
  ])
}
