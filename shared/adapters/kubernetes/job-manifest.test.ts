import { expect, test } from 'vitest'
import type { JobSpec } from '../../ports/sandbox.ts'
import { jobManifest, userId } from './job-manifest.ts'
import type { KubernetesSandboxOptions } from './options.ts'

const job: JobSpec = {
  name: 'tool-1',
  runId: '7d0c9c0e-0000-4000-8000-000000000000',
  stepNumber: 3,
  doorUrl: 'http://agent-door.agents.svc.cluster.local/agent/step/job',
  token: 'the-token',
  deadlineSeconds: 960,
}
const options: KubernetesSandboxOptions = {
  namespace: 'agents-sandbox',
  image: 'tools:1',
  doorAddress: '10.0.0.9',
  runtimeClass: '',
  hostUsers: true,
  proxyUrl: '',
  cpuMillicores: 1000,
}
const manifest = (changes: Partial<KubernetesSandboxOptions> = {}, jobChanges: Partial<JobSpec> = {}) => {
  const made = jobManifest({ ...job, ...jobChanges }, { ...options, ...changes }, 0)
  const pod = made.spec?.template.spec
  const [tool] = pod?.initContainers ?? []
  const [runner] = pod?.containers ?? []
  if (!pod || !tool || !runner) throw new Error('no pod')
  return { made, pod, tool, runner, containers: [tool, runner] }
}

test('runs once, ends by its deadline, is kept for a while, and tells a disruption from a failure', () => {
  const { made, pod } = manifest()
  expect(made.metadata?.name).toBe('tool-1')
  expect(made.metadata?.namespace).toBe('agents-sandbox')
  for (const labels of [made.metadata?.labels, made.spec?.template.metadata?.labels]) {
    expect(labels).toEqual({
      'app.kubernetes.io/name': 'tool',
      'app.kubernetes.io/part-of': 'agent-functions',
      'agent-functions/run': job.runId,
    })
  }
  expect(made.spec?.backoffLimit).toBe(0)
  expect(made.spec?.podReplacementPolicy).toBe('Failed')
  expect(made.spec?.activeDeadlineSeconds).toBe(960)
  expect(made.spec?.ttlSecondsAfterFinished).toBe(600)
  expect(made.spec?.podFailurePolicy?.rules.map(({ action }) => action)).toEqual(['FailJob', 'FailJob'])
  expect(made.spec?.podFailurePolicy?.rules[0]?.onPodConditions?.[0]?.type).toBe('DisruptionTarget')
  expect(pod.restartPolicy).toBe('Never')
})

test('has no identity, no service names, no shared processes, no host', () => {
  const { pod } = manifest()
  expect(pod.serviceAccountName).toBe('tool')
  expect(pod.automountServiceAccountToken).toBe(false)
  expect(pod.enableServiceLinks).toBe(false)
  expect(pod.shareProcessNamespace).toBe(false)
  for (const field of ['hostNetwork', 'hostPID', 'hostIPC'] as const) expect(pod[field]).toBeUndefined()
})

test.each(['tool', 'runner'] as const)('seals the container %s', (name) => {
  const { [name]: container } = manifest()
  const context = container.securityContext
  expect(context?.allowPrivilegeEscalation).toBe(false)
  expect(context?.privileged).toBe(false)
  expect(context?.readOnlyRootFilesystem).toBe(true)
  expect(context?.runAsNonRoot).toBe(true)
  expect(context?.capabilities).toEqual({ drop: ['ALL'] })
  expect(context?.seccompProfile).toEqual({ type: 'RuntimeDefault' })
  expect(container.resources?.limits).toEqual(container.resources?.requests)
  expect(new Set(Object.keys(container.resources?.limits ?? {}))).toEqual(
    new Set(['cpu', 'ephemeral-storage', 'memory']),
  )
})

test('every volume is the pod’s own and has a size; only the workspace is on disk', () => {
  const { pod } = manifest()
  expect(
    pod.volumes?.map(({ name, emptyDir }) => `${name} ${emptyDir?.medium ?? 'disk'} ${emptyDir?.sizeLimit}`),
  ).toEqual([
    'workspace disk 1536Mi',
    'control Memory 4Mi',
    'tool-tmp Memory 256Mi',
    'runner-tmp Memory 16Mi',
  ])
  for (const volume of pod.volumes ?? [])
    expect(new Set(Object.keys(volume))).toEqual(new Set(['emptyDir', 'name']))
})

test('the token is in the environment of the runner and nowhere else', () => {
  const { made, tool, runner } = manifest()
  expect(tool.env).toEqual([])
  expect(tool.restartPolicy).toBe('Always')
  expect(JSON.parse(runner.env?.[0]?.value ?? '')).toMatchObject({
    token: 'the-token',
    confinement: 'pod',
    deadline_at: '1970-01-01T00:16:00.000Z',
  })
  expect(JSON.stringify(made).split('the-token')).toHaveLength(2)
  expect(JSON.stringify([made.metadata, made.spec?.template.metadata, runner.command, tool])).not.toContain(
    'the-token',
  )
})

test('each job has a user of its own, from 10000 on; with user namespaces one that fits into them', () => {
  const { pod } = manifest()
  const context = pod.securityContext
  expect(context?.runAsNonRoot).toBe(true)
  expect(context?.runAsUser).toBe(userId('tool-1', true))
  expect([context?.runAsGroup, context?.fsGroup]).toEqual([context?.runAsUser, context?.runAsUser])
  const names = Array.from({ length: 2000 }, (_, number) => `job-${number}`)
  const ids = names.map((name) => userId(name, true))
  expect(new Set(ids).size).toBe(2000)
  expect(Math.min(...ids)).toBeGreaterThanOrEqual(100_000)
  expect(Math.max(...ids)).toBeLessThan(2 ** 31)
  const small = names.map((name) => userId(name, false))
  expect(Math.min(...small)).toBeGreaterThanOrEqual(10_000)
  expect(Math.max(...small)).toBeLessThan(65_536)
})

test('names are resolved only where the door’s address is not known', () => {
  const known = manifest().pod
  expect(known.dnsPolicy).toBe('None')
  expect(known.hostAliases).toEqual([{ ip: '10.0.0.9', hostnames: ['agent-door.agents.svc.cluster.local'] }])
  const numeric = manifest({ doorAddress: '' }, { doorUrl: 'http://[fd00::1]:80/x' }).pod
  expect([numeric.dnsPolicy, numeric.hostAliases]).toEqual(['None', undefined])
  expect(manifest({ doorAddress: '' }).pod.dnsPolicy).toBe('ClusterFirst')
})

test('settings of the cluster get where they belong', () => {
  const plain = manifest().pod
  expect([plain.hostUsers, plain.runtimeClassName]).toEqual([undefined, undefined])
  const { pod, tool, runner } = manifest({
    hostUsers: false,
    runtimeClass: 'gvisor',
    proxyUrl: 'http://p:3128',
    cpuMillicores: 300,
  })
  expect([pod.hostUsers, pod.runtimeClassName]).toEqual([false, 'gvisor'])
  expect(tool.env).toEqual([{ name: 'TOOL_PROXY_URL', value: 'http://p:3128' }])
  expect(runner.env).toHaveLength(1)
  expect(tool.resources?.limits?.['cpu']).toBe('300m')
})
