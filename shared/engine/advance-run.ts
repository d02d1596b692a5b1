import type { BurstClaim, Claim, CommitAnswer } from '../ports/store.ts'
import { INLINE_TOOLS } from '../tools/registry.ts'
import { sendLive } from './live.ts'
import { modelStep } from './model-step.ts'
import { removeJobs } from './remove-jobs.ts'
import type { StepDeps } from './step-deps.ts'
import { checkJob, toolStep } from './tool-step.ts'

export type Advance =
  | {
      outcome:
        | 'committed'
        | 'stale'
        | 'done'
        | 'final'
        | 'paused'
        | 'not_due'
        | 'unknown'
        | 'switched_off'
        | 'busy'
        | 'newer'
      /** Steps that a burst took, when more than one. */
      steps?: number
    }
  | { outcome: 'leased'; retryAfterSeconds: number }

/**
 * One delivery of "step n of run r is due": one claim, one commit, one publish. In a burst each commit brings the next claim along, and
 * only what the last one made due is published. Rejects when the delivery has to be repeated: then nothing is lost, as whatever was
 * committed is published by the repeat or by the sweeper.
 */
export async function advanceRun(
  deps: StepDeps,
  message: { run_id: string; step_number: number },
): Promise<Advance> {
  const started = performance.now()
  const { leaseSeconds, parallelCalls } = deps.settings
  const answer = await deps.store.claimStep({
    ...message,
    lease_seconds: leaseSeconds,
    ...(parallelCalls === undefined ? {} : { parallel: { ...parallelCalls, inline_tools: INLINE_TOOLS } }),
  })
  if (!('claim' in answer)) {
    if (answer.refused === 'final') await removeJobs(deps, answer.jobs_to_remove)
    await deps.scheduler.publish(answer.publications)
    return answer.refused === 'leased'
      ? { outcome: 'leased', retryAfterSeconds: answer.retry_after_seconds }
      : { outcome: answer.refused }
  }
  let claim: Claim | undefined = answer.claim
  for (let taken = 1; ; taken++) {
    // readers see the step begin; nobody waits for that
    void sendLive(deps.cache, message.run_id, [{ t: 'rows', seq: claim.log_seq }])
    const written = await takeStep(deps, claim, { taken, spentMs: performance.now() - started })
    claim = written.claim
    if (claim !== undefined && written.publications.length > 0) {
      // calls of other runs that came up for the place of this one: the sweeper has them too
      void deps.scheduler
        .publish(written.publications)
        .catch((err: unknown) => deps.log.warn({ ...message, err }, 'left to the sweeper'))
    }
    if (claim === undefined) {
      await announce(deps, message.run_id, written)
      return { outcome: written.committed ? 'committed' : 'stale', ...(taken > 1 ? { steps: taken } : {}) }
    }
  }
}

/** One step of the invocation, after `taken - 1` others that together took `spentMs`. */
async function takeStep(
  deps: StepDeps,
  claim: Claim,
  { taken, spentMs }: { taken: number; spentMs: number },
): Promise<CommitAnswer> {
  const { leaseSeconds, stepDeadlineSeconds, burst } = deps.settings
  // A request ends soon after the deadline, whichever step it is at: the last one is begun with half of the time left.
  const lastStartMs = Math.min(burst?.ms ?? 0, (stepDeadlineSeconds * 1000) / 2)
  const next =
    burst !== undefined && taken < burst.steps && spentMs < lastStartMs
      ? { lease_seconds: leaseSeconds, inline_tools: INLINE_TOOLS }
      : null
  if (taken === 1) return carryOut(deps, claim, next)
  const settings = { ...deps.settings, stepDeadlineSeconds: stepDeadlineSeconds - spentMs / 1000 }
  try {
    return await carryOut({ ...deps, settings }, claim, next)
  } catch (error) {
    // No message for this step was ever published, so no repeat of one can bring it back: this does, when its lease has ended.
    const { run_id, step_number, epoch } = claim.step
    await deps.scheduler
      .publish([{ run_id, step_number, epoch, publication: 0, delay_seconds: leaseSeconds + 1 }])
      .catch((err: unknown) => deps.log.warn({ run_id, step_number, err }, 'left to the sweeper'))
    throw error
  }
}

function carryOut(deps: StepDeps, claim: Claim, burst: BurstClaim | null): Promise<CommitAnswer> {
  if (claim.step.job !== null) return checkJob(deps, claim)
  return claim.step.kind === 'model' ? modelStep(deps, claim, burst) : toolStep(deps, claim, burst)
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
