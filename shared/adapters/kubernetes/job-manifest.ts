import { createHash } from 'node:crypto'
import { isIP } from 'node:net'
import type { V1Job, V1PodSpec, V1ResourceRequirements } from '@kubernetes/client-node'
import { TOOL_MEMORY_BYTES } from '../../core/limits.ts'
import type { JobSpec } from '../../ports/sandbox.ts'
import type { KubernetesSandboxOptions } from './options.ts'
import { podSecurity, SEALED_CONTAINER } from './pod-security.ts'

const MIB = 1024 * 1024
/** Looked at by `inspect` while the step waits; a step that has not looked by then never will. */
const KEPT_AFTER_END_SECONDS = 600
/** The runner says its last words within 10 s (runner/main.ts). */
const TERMINATION_GRACE_SECONDS = 15
/** A node that does not answer is given up after this, not after Kubernetes' 300 s: a person waits for the tool. */
const LOST_NODE_SECONDS = 60
/** /tmp of the tool lives in memory: past it a write fails at once, where a disk's limit would evict the pod minutes later. */
const TOOL_TMP_MIB = 256
/** The executor (a Node process, about 60 MiB), kernel memory, shells: beside what the tool itself may take. */
const TOOL_OVERHEAD_MIB = 192
/** 1.5 times the largest workspace: the runner stops a tool at 1.25 times and says so, eviction stands behind it. */
const WORKSPACE_MIB = 1536
/** Logs of both containers, and room to spare, so that the volume's own limit is met first. */
const TOOL_DISK_MIB = WORKSPACE_MIB + 128
const RUNNER_DISK_MIB = 64
/** A socket and a program of at most 1 MiB. */
const CONTROL_MIB = 4
const RUNNER_TMP_MIB = 16
/** Four files of 50 MiB under way at once, in pieces and whole, and 80 MiB of Node. */
const RUNNER_MEMORY_MIB = 512
/** Enough for Node to start in half a second; it hashes and waits for the network. */
const RUNNER_CPU_MILLICORES = 250
const OPT = '/opt/agent-functions'

/** The Job of a tool call: two containers that share nothing but the workspace and a socket. Made again it is the same but for its deadline. */
export function jobManifest(job: JobSpec, options: KubernetesSandboxOptions, now: number): V1Job {
  const labels = {
    'app.kubernetes.io/name': 'tool',
    'app.kubernetes.io/part-of': 'agent-functions',
    'agent-functions/run': job.runId,
  }
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name: job.name, namespace: options.namespace, labels },
    spec: {
      // A tool that ran once is never run again behind the model's back.
      backoffLimit: 0,
      completions: 1,
      parallelism: 1,
      podReplacementPolicy: 'Failed',
      activeDeadlineSeconds: job.deadlineSeconds,
      ttlSecondsAfterFinished: KEPT_AFTER_END_SECONDS,
      podFailurePolicy: {
        rules: [
          // First, so that what the cluster did is not taken for the exit status that it caused.
          { action: 'FailJob', onPodConditions: [{ type: 'DisruptionTarget', status: 'True' }] },
          { action: 'FailJob', onExitCodes: { containerName: 'runner', operator: 'NotIn', values: [0] } },
        ],
      },
      template: { metadata: { labels }, spec: podSpec(job, options, now) },
    },
  }
}

function podSpec(job: JobSpec, options: KubernetesSandboxOptions, now: number): V1PodSpec {
  const id = userId(job.name, options.hostUsers)
  const shared = [
    { name: 'workspace', mountPath: '/workspace' },
    { name: 'control', mountPath: '/run/tool' },
  ]
  const node = ['node', '--disable-warning=ExperimentalWarning']
  const tolerated = { operator: 'Exists', effect: 'NoExecute', tolerationSeconds: LOST_NODE_SECONDS }
  return {
    ...podSecurity(id, options),
    ...nameResolution(job.doorUrl, options.doorAddress),
    restartPolicy: 'Never',
    terminationGracePeriodSeconds: TERMINATION_GRACE_SECONDS,
    tolerations: ['not-ready', 'unreachable'].map((state) => ({
      key: `node.kubernetes.io/${state}`,
      ...tolerated,
    })),
    initContainers: [
      {
        name: 'tool',
        image: options.image,
        imagePullPolicy: 'IfNotPresent',
        // A sidecar: started before the runner, ended after it.
        restartPolicy: 'Always',
        command: [...node, `${OPT}/executor.mjs`],
        env: options.proxyUrl === '' ? [] : [{ name: 'TOOL_PROXY_URL', value: options.proxyUrl }],
        workingDir: '/workspace',
        resources: exactly({
          cpu: `${options.cpuMillicores}m`,
          memory: `${Math.ceil(TOOL_MEMORY_BYTES / MIB) + TOOL_TMP_MIB + TOOL_OVERHEAD_MIB}Mi`,
          'ephemeral-storage': `${TOOL_DISK_MIB}Mi`,
        }),
        securityContext: SEALED_CONTAINER,
        volumeMounts: [...shared, { name: 'tool-tmp', mountPath: '/tmp' }],
      },
    ],
    containers: [
      {
        name: 'runner',
        image: options.image,
        imagePullPolicy: 'IfNotPresent',
        command: [...node, `${OPT}/runner.mjs`],
        env: [{ name: 'RUNNER_JOB', value: jobLine(job, now) }],
        workingDir: '/workspace',
        // Its last words, for `inspect`; they hold no input, result or token.
        terminationMessagePolicy: 'FallbackToLogsOnError',
        resources: exactly({
          cpu: `${RUNNER_CPU_MILLICORES}m`,
          memory: `${RUNNER_MEMORY_MIB}Mi`,
          'ephemeral-storage': `${RUNNER_DISK_MIB}Mi`,
        }),
        securityContext: SEALED_CONTAINER,
        volumeMounts: [...shared, { name: 'runner-tmp', mountPath: '/tmp' }],
      },
    ],
    volumes: [
      { name: 'workspace', emptyDir: { sizeLimit: `${WORKSPACE_MIB}Mi` } },
      { name: 'control', emptyDir: { medium: 'Memory', sizeLimit: `${CONTROL_MIB}Mi` } },
      { name: 'tool-tmp', emptyDir: { medium: 'Memory', sizeLimit: `${TOOL_TMP_MIB}Mi` } },
      { name: 'runner-tmp', emptyDir: { medium: 'Memory', sizeLimit: `${RUNNER_TMP_MIB}Mi` } },
    ],
  }
}

/** runner/job.ts. The token is good for one result: in the Job it is readable for those alone who may read Jobs, and no Secret has to be made and removed. */
function jobLine(job: JobSpec, now: number): string {
  return JSON.stringify({
    door_url: job.doorUrl,
    run_id: job.runId,
    step_number: job.stepNumber,
    token: job.token,
    deadline_at: new Date(now + job.deadlineSeconds * 1000).toISOString(),
    confinement: 'pod',
    work_root: '/tmp',
    lifeline: false,
  })
}

/**
 * A user of the job's own: the kernel counts processes by user over the whole node. A pod with a user namespace has users up to
 * 65,535, and they are its own anyway.
 */
export function userId(name: string, hostUsers: boolean): number {
  const hash = createHash('sha256').update(name).digest().readUIntBE(0, 6)
  return hostUsers ? 100_000 + (hash % 1_000_000_000) : 10_000 + (hash % 55_000)
}

/** Names are a way out for data. The door's address is all that a job needs; where it is known there is no DNS. */
function nameResolution(doorUrl: string, doorAddress: string): Partial<V1PodSpec> {
  const host = new URL(doorUrl).hostname.replace(/^\[|\]$/g, '')
  const isAddress = isIP(host) !== 0
  if (doorAddress === '' && !isAddress) return { dnsPolicy: 'ClusterFirst' }
  return {
    dnsPolicy: 'None',
    // One is demanded. Nothing listens there but what the tool itself starts.
    dnsConfig: { nameservers: ['127.0.0.1'] },
    ...(isAddress ? {} : { hostAliases: [{ ip: doorAddress, hostnames: [host] }] }),
  }
}

function exactly(amounts: Record<string, string>): V1ResourceRequirements {
  return { requests: amounts, limits: amounts }
}
