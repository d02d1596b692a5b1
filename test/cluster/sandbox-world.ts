import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { promisify } from 'node:util'
import { BatchV1Api, CoreV1Api, KubeConfig, NetworkingV1Api, type V1Pod } from '@kubernetes/client-node'
import type { KubernetesSandboxOptions } from '../../shared/adapters/kubernetes/options.ts'
import { createKubernetesSandbox } from '../../shared/adapters/kubernetes/sandbox.ts'
import type { JobSpec, JobState, Sandbox } from '../../shared/ports/sandbox.ts'
import { type DoorJob, FakeDoor } from '../../shared/runner/testing/fake-door.ts'

const kubeconfig = process.env['KUBECONFIG'] ?? ''
/** Image with the runner and the executor; loaded on every node. */
export const TOOL_IMAGE = process.env['TOOL_IMAGE'] ?? 'dev.local/agent-tools:1'
/** Address at which pods reach this machine, and a program that opens a port of its loopback to them. */
export const HOST = process.env['CLUSTER_HOST'] ?? '10.90.0.1'
const EXPOSE = process.env['CLUSTER_EXPOSE'] ?? ''

/** A namespace of its own, sealed as the deployed one is, with a door on this machine. */
export class SandboxWorld {
  readonly namespace = `sbx-${randomBytes(4).toString('hex')}`
  readonly door = new FakeDoor()
  readonly batch: BatchV1Api
  readonly core: CoreV1Api
  readonly #network: NetworkingV1Api
  doorUrl = ''
  #jobs = 0

  constructor() {
    const config = new KubeConfig()
    config.loadFromFile(kubeconfig)
    this.batch = config.makeApiClient(BatchV1Api)
    this.core = config.makeApiClient(CoreV1Api)
    this.#network = config.makeApiClient(NetworkingV1Api)
  }

  async open(): Promise<void> {
    await this.door.listen()
    const url = new URL(this.door.url)
    const port = Number(url.port)
    if (EXPOSE !== '') await promisify(execFile)(EXPOSE, [url.port])
    url.hostname = HOST
    this.doorUrl = url.href
    const { namespace } = this
    const labels = { 'pod-security.kubernetes.io/enforce': 'restricted' }
    await this.core.createNamespace({ body: { metadata: { name: namespace, labels } } })
    await this.core.createNamespacedServiceAccount({
      namespace,
      body: { metadata: { name: 'tool' }, automountServiceAccountToken: false },
    })
    await this.#network.createNamespacedNetworkPolicy({
      namespace,
      body: {
        metadata: { name: 'sealed' },
        spec: {
          podSelector: {},
          policyTypes: ['Ingress', 'Egress'],
          egress: [{ to: [{ ipBlock: { cidr: `${HOST}/32` } }], ports: [{ port }] }],
        },
      },
    })
  }

  async close(): Promise<void> {
    await this.core.deleteNamespace({ name: this.namespace }).catch(() => undefined)
    await this.door.close()
  }

  sandbox(changes: Partial<KubernetesSandboxOptions> = {}): Sandbox {
    return createKubernetesSandbox({
      namespace: this.namespace,
      image: TOOL_IMAGE,
      doorAddress: '',
      runtimeClass: '',
      hostUsers: true,
      proxyUrl: '',
      cpuMillicores: 250,
      kubeconfig,
      ...changes,
    })
  }

  spec(made: DoorJob, changes: Partial<JobSpec> = {}): JobSpec {
    this.#jobs += 1
    return {
      name: `job-${this.#jobs}-${made.runId}`.slice(0, 60).replace(/-$/, ''),
      runId: made.runId,
      stepNumber: made.stepNumber,
      doorUrl: this.doorUrl,
      token: made.token,
      deadlineSeconds: 120,
      ...changes,
    }
  }

  /** The job's pod, once it is as wanted. */
  async pod(name: string, wanted: (pod: V1Pod) => boolean = () => true): Promise<V1Pod> {
    return await until(async () => {
      const { items } = await this.core.listNamespacedPod({
        namespace: this.namespace,
        labelSelector: `batch.kubernetes.io/job-name=${name}`,
      })
      return items.find(wanted)
    }, `a pod of ${name}`)
  }
}

/** Asks until there is an answer. */
export async function until<T>(ask: () => Promise<T | undefined>, what: string, seconds = 60): Promise<T> {
  const end = Date.now() + seconds * 1000
  for (;;) {
    const found = await ask()
    if (found !== undefined) return found
    if (Date.now() > end) throw new Error(`${what} did not come in ${seconds} s`)
    await new Promise((resolve) => setTimeout(resolve, 250))
  }
}

export function ended(state: JobState): JobState | undefined {
  return state.state === 'succeeded' || state.state === 'failed' ? state : undefined
}

export const reasonOf = (state: JobState): string => ('reason' in state ? (state.reason ?? '') : '')

export function figure(line: string): void {
  process.stdout.write(`  ${line}\n`)
}
