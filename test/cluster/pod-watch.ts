import { CoreV1Api, KubeConfig, type V1Pod, Watch } from '@kubernetes/client-node'

/** One pod as it was seen: from its start on the node to its end. */
export interface SeenPod {
  name: string
  /** `agent-step`, …; for a tool job's pod its name. */
  service: string
  createdAt: number
  startedAt: number | undefined
  /** When it was told to end: it takes no request any more, but drains. */
  leavingAt: number | undefined
  /** When its containers had ended or it was gone. */
  endedAt: number | undefined
  /** When the API server told of it: created, scheduled, containers (all of them run), ready. Its own times are whole seconds. */
  arrivals: Map<string, number>
}

export interface PodWatch {
  pods: ReadonlyMap<string, SeenPod>
  /** Seconds for which pods of a service held resources between two moments (ms since the epoch). */
  podSeconds(service: string, from: number, to?: number): number
  /** Of these the ones before a pod was told to end; Knative's proxy then drains for another 30 s. */
  servingSeconds(service: string, from: number, to?: number): number
  /** Those that have not ended, the ones that drain included. */
  running(service?: string): SeenPod[]
  stop(): void
}

/** Follows the pods of a namespace from now on, those that are there included. */
export async function watchPods(namespace: string): Promise<PodWatch> {
  const config = new KubeConfig()
  config.loadFromDefault()
  const pods = new Map<string, SeenPod>()
  const see = (phase: string, pod: V1Pod) => {
    // an error or a bookmark is no pod
    const uid = pod.metadata?.uid
    if (uid === undefined || !['ADDED', 'MODIFIED', 'DELETED'].includes(phase)) return
    const labels = pod.metadata?.labels ?? {}
    const seen = pods.get(uid) ?? {
      name: pod.metadata?.name ?? '',
      service: labels['serving.knative.dev/service'] ?? labels['batch.kubernetes.io/job-name'] ?? '',
      createdAt: time(pod.metadata?.creationTimestamp) ?? Date.now(),
      startedAt: undefined,
      leavingAt: undefined,
      endedAt: undefined,
      arrivals: new Map<string, number>(),
    }
    pods.set(uid, seen)
    seen.startedAt ??= time(pod.status?.startTime)
    const arrive = (what: string) => {
      if (!seen.arrivals.has(what)) seen.arrivals.set(what, Date.now())
    }
    arrive('created')
    for (const { type, status } of pod.status?.conditions ?? []) {
      if (status !== 'True') continue
      if (type === 'PodScheduled') arrive('scheduled')
      if (type === 'Ready') arrive('ready')
    }
    const containers = pod.status?.containerStatuses ?? []
    if (containers.length > 0 && containers.every(({ state }) => state?.running !== undefined))
      arrive('containers')
    if (pod.metadata?.deletionTimestamp !== undefined) seen.leavingAt ??= Date.now()
    const isOver = phase === 'DELETED' || ['Succeeded', 'Failed'].includes(pod.status?.phase ?? '')
    if (isOver) seen.endedAt ??= Date.now()
  }
  let stopped = false
  let request: AbortController | undefined
  const again = () => {
    if (!stopped) setTimeout(() => void follow().catch(again), 500)
  }
  const core = config.makeApiClient(CoreV1Api)
  const follow = async (): Promise<void> => {
    const { items } = await core.listNamespacedPod({ namespace })
    const there = new Set(items.map(({ metadata }) => metadata?.uid))
    // what went while nobody watched
    for (const [uid, pod] of pods) if (!there.has(uid)) pod.endedAt ??= Date.now()
    request = await new Watch(config).watch(
      `/api/v1/namespaces/${namespace}/pods`,
      {},
      (phase, pod: V1Pod) => see(phase, pod),
      () => {
        // the API server ends a watch now and then, and may be restarted by a test
        again()
      },
    )
  }
  await follow()
  const secondsOf = (
    service: string,
    from: number,
    to: number,
    endOf: (pod: SeenPod) => number | undefined,
  ): number => {
    let ms = 0
    for (const pod of pods.values()) {
      if (pod.service !== service || pod.startedAt === undefined) continue
      ms += Math.max(0, Math.min(endOf(pod) ?? to, to) - Math.max(pod.startedAt, from))
    }
    return ms / 1000
  }
  return {
    pods,
    podSeconds: (service, from, to = Date.now()) => secondsOf(service, from, to, (pod) => pod.endedAt),
    servingSeconds: (service, from, to = Date.now()) =>
      secondsOf(service, from, to, (pod) => pod.leavingAt ?? pod.endedAt),
    running: (service) =>
      [...pods.values()].filter(
        (pod) => pod.endedAt === undefined && (service ?? pod.service) === pod.service,
      ),
    stop() {
      stopped = true
      request?.abort()
    },
  }
}

function time(value: Date | string | undefined): number | undefined {
  return value === undefined ? undefined : new Date(value).getTime()
}
