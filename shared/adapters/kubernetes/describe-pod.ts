import type { V1ContainerStatus, V1Pod } from '@kubernetes/client-node'

/** Why a container waits that no time heals: the name of the image, a pod that the node refuses to make. */
const HOPELESS: ReadonlySet<string> = new Set([
  'InvalidImageName',
  'ErrImageNeverPull',
  'CreateContainerConfigError',
])
const IN_WORDS: Readonly<Record<string, string>> = {
  InvalidImageName: 'the name of its image is not valid',
  ErrImageNeverPull: 'its image is not on the node and may not be pulled',
  ErrImagePull: 'its image cannot be pulled',
  ImagePullBackOff: 'its image cannot be pulled',
  CreateContainerConfigError: 'its container cannot be set up',
  CreateContainerError: 'its container cannot be made',
  RunContainerError: 'its container cannot be started',
}
/** Reasons of the condition DisruptionTarget. */
const DISRUPTIONS: Readonly<Record<string, string>> = {
  PreemptionByScheduler: 'its pod was preempted by a more important one',
  DeletionByTaintManager: 'its node was lost or is being emptied',
  DeletionByPodGC: 'its node is gone',
  EvictionByEvictionAPI: 'its pod was evicted',
  TerminationByKubelet: 'its pod was evicted by its node',
}

function containers(pod: V1Pod): V1ContainerStatus[] {
  return [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])]
}

/** Why a pod has not started; nothing for one that is just being made. */
export function waitOf(pod: V1Pod): { reason?: string; isHopeless?: boolean } {
  for (const { state } of containers(pod)) {
    const { reason, message } = state?.waiting ?? {}
    const words = reason === undefined ? undefined : IN_WORDS[reason]
    if (reason !== undefined && words !== undefined)
      return { reason: withMessage(words, message), isHopeless: HOPELESS.has(reason) }
  }
  const scheduled = pod.status?.conditions?.find(({ type }) => type === 'PodScheduled')
  if (scheduled?.status !== 'False') return {}
  return { reason: withMessage('there is no place for it in the cluster', scheduled.message) }
}

/** How a pod ended; nothing when it says nothing. */
export function endOf(pod: V1Pod): string | undefined {
  if (pod.status?.reason === 'Evicted')
    return withMessage('its pod was evicted by its node', pod.status.message)
  const disrupted = pod.status?.conditions?.find(
    ({ type, status }) => type === 'DisruptionTarget' && status === 'True',
  )
  if (disrupted)
    return (
      DISRUPTIONS[disrupted.reason ?? ''] ??
      withMessage('its pod was removed by the cluster', disrupted.message)
    )
  for (const { name, state, lastState } of containers(pod)) {
    const over = state?.terminated?.reason === 'OOMKilled' ? state.terminated : lastState?.terminated
    if (over?.reason === 'OOMKilled') return `the ${name} ran out of memory`
  }
  const runner = pod.status?.containerStatuses?.find(({ name }) => name === 'runner')?.state?.terminated
  if (runner === undefined) return undefined
  const how = runner.signal ? `was killed by signal ${runner.signal}` : `ended with status ${runner.exitCode}`
  return withMessage(`its runner ${how}`, lastLine(runner.message))
}

function lastLine(text: string | undefined): string | undefined {
  const line = text?.trimEnd().split('\n').at(-1)
  return /"message":"(.*)"}$/.exec(line ?? '')?.[1] ?? line
}

function withMessage(words: string, message: string | undefined): string {
  return message === undefined || message === '' ? words : `${words}: ${message}`.slice(0, 400)
}
