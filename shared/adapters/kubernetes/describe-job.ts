import type { V1Job, V1JobCondition, V1Pod } from '@kubernetes/client-node'
import type { JobState } from '../../ports/sandbox.ts'
import { endOf, waitOf } from './describe-pod.ts'

/** A pod that was to be gone by then is on a node that does not answer: its grace is in its deletion time already. */
const LOST_AFTER_SECONDS = 30

const condition = (job: V1Job, type: string): V1JobCondition | undefined =>
  job.status?.conditions?.find((found) => found.type === type && found.status === 'True')

/** Simply at work: then its pods need not be asked. */
export function isWorking(job: V1Job): boolean {
  return (job.status?.ready ?? 0) > 0 && !condition(job, 'FailureTarget') && !condition(job, 'Failed')
}

/** What a job and its pods say, and in words for a person why it does not start or how it ended. */
export function describeJob(job: V1Job, pods: readonly V1Pod[], now: number): JobState {
  if (condition(job, 'Complete')) return { state: 'succeeded', reason: 'its runner ended with status 0' }
  const failed = condition(job, 'Failed')
  if (failed) return { state: 'failed', reason: whyFailed(failed, pods) }

  const seconds = (since: Date | string | undefined): number =>
    since === undefined ? 0 : Math.max(0, (now - new Date(since).getTime()) / 1000)
  const lost = pods.find(
    ({ metadata, status }) =>
      metadata?.deletionTimestamp !== undefined &&
      status?.phase !== 'Succeeded' &&
      status?.phase !== 'Failed' &&
      seconds(metadata.deletionTimestamp) > LOST_AFTER_SECONDS,
  )
  if (lost) return { state: 'failed', reason: `its node ${lost.spec?.nodeName ?? ''} does not answer` }
  if (
    pods.some(({ status }) => status?.phase === 'Running' || isOver(status?.phase)) ||
    condition(job, 'FailureTarget')
  )
    return { state: 'running' }

  const waitedSeconds = Math.floor(seconds(job.metadata?.creationTimestamp))
  const [pod] = pods
  if (pod === undefined) {
    const reason =
      'no pod was made for it yet: the quota of its namespace is used up, or its rules do not allow such a pod'
    return { state: 'pending', waitedSeconds, reason }
  }
  return { state: 'pending', waitedSeconds, ...waitOf(pod) }
}

/** Over, while the job itself does not say so yet. */
function isOver(phase: string | undefined): boolean {
  return phase === 'Succeeded' || phase === 'Failed'
}

function whyFailed(failed: V1JobCondition, pods: readonly V1Pod[]): string {
  if (failed.reason === 'DeadlineExceeded') return 'it did not end within its time and was stopped'
  const told = pods.map(endOf).find((reason) => reason !== undefined)
  if (told !== undefined) return told
  // A pod that was evicted, preempted or drained is removed; what is left of it is the job's own word.
  if (failed.message?.includes('DisruptionTarget'))
    return 'its pod was removed by the cluster (evicted, preempted, or its node was drained or is gone)'
  if (pods.length === 0) return 'its pod was deleted'
  return `${failed.reason ?? 'failed'}: ${failed.message ?? ''}`.slice(0, 300)
}
