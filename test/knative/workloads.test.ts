import { describe, expect, test } from 'vitest'
import { requiredKeys } from '../../knative/deploy/secret-table.ts'
import {
  hasKubectl,
  parseYaml,
  type Resource,
  render,
  renderWith,
  type Workload,
  workloads,
} from './rendered.ts'

if (!hasKubectl) console.log('knative: the manifests are not looked at, as there is no kubectl')

/** Numbers of the images (knative/images). */
const USERS: Record<string, number> = { function: 10001, sweep: 10001, squid: 10002, nginx: 10003 }

function checkSealed({ name, kind, pod }: Workload): void {
  const at = `${kind} ${name}`
  expect(pod.automountServiceAccountToken, at).toBe(name === 'agent-step' ? undefined : false)
  expect(pod.serviceAccountName, at).toBe(
    name === 'agent-step' ? 'agent-step' : name === 'egress' ? 'egress' : 'agent-functions',
  )
  expect(pod.enableServiceLinks, at).toBe(false)
  for (const field of ['hostNetwork', 'hostPID', 'hostIPC', 'shareProcessNamespace'])
    expect(pod, at).not.toHaveProperty(field)
  expect(pod.containers.length, at).toBe(1)
  for (const one of pod.containers) {
    expect(one.securityContext, at).toEqual({
      runAsNonRoot: true,
      runAsUser: USERS[one.name],
      runAsGroup: USERS[one.name],
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
      seccompProfile: { type: 'RuntimeDefault' },
    })
    expect(one.resources.requests, at).toMatchObject({ cpu: expect.any(String), memory: expect.any(String) })
    expect(one.resources.limits, at).toHaveProperty('memory')
  }
  for (const volume of pod.volumes ?? []) {
    const { name: _, ...source } = volume
    const [type] = Object.keys(source)
    expect(['configMap', 'emptyDir'], `${at}: volume ${volume.name}`).toContain(type)
    if (type === 'emptyDir') expect(source['emptyDir'], at).toHaveProperty('sizeLimit')
  }
}

describe.skipIf(!hasKubectl)('manifests', () => {
  const overlays = hasKubectl ? { sks: render('sks'), test: render('test') } : {}

  test.each(Object.entries(overlays))('%s: every pod is sealed, field by field', (_, resources) => {
    const found = workloads(resources)
    expect(new Set(found.map(({ name }) => name))).toEqual(
      new Set(['agent-door', 'agent-execute', 'agent-logs', 'agent-status', 'agent-step']),
    )
    for (const one of found) checkSealed(one)
  })

  test('the components as well, with the images given', async () => {
    const resources = parseYaml(await renderWith('sks', ['router', 'egress', 'sweeper-cronjob']))
    const found = workloads(resources).filter(({ kind }) => kind !== 'Service')
    expect(new Set(found.map(({ name }) => name))).toEqual(
      new Set(['agent-router', 'agent-sweeper', 'egress']),
    )
    for (const one of found) checkSealed(one)
    const sweeper = found.find(({ name }) => name === 'agent-sweeper')
    const refs = (sweeper?.pod.containers[0]?.env ?? []).map((one) =>
      'valueFrom' in one ? one.valueFrom.secretKeyRef : undefined,
    )
    expect(refs).toHaveLength(3)
    for (const ref of refs) {
      expect(ref?.name).toBe('agent-step')
      expect(requiredKeys('agent-step', { withDatabaseUrl: false })).toContain(ref?.key)
    }
  })

  test.each(Object.entries(overlays))('%s: nothing is reached that is not meant to be', (_, resources) => {
    for (const { apiVersion, kind, metadata } of resources) {
      if (kind === 'Namespace')
        expect(metadata.labels).toMatchObject({ 'pod-security.kubernetes.io/enforce': 'restricted' })
      if (apiVersion.startsWith('serving.knative.dev/'))
        expect(metadata.labels).toMatchObject({ 'networking.knative.dev/visibility': 'cluster-local' })
      expect(['Secret', 'ClusterRole', 'ClusterRoleBinding', 'DomainMapping', 'Ingress']).not.toContain(kind)
    }
    const policy = (name: string) =>
      resources.find(({ kind, metadata }) => kind === 'NetworkPolicy' && metadata.name === name)
    expect(policy('nothing')?.['spec']).toEqual({ podSelector: {}, policyTypes: ['Ingress', 'Egress'] })
    expect(policy('functions')?.['spec']).toMatchObject({
      podSelector: {},
      policyTypes: ['Ingress', 'Egress'],
    })
    const inSandbox = resources.filter(
      ({ kind, metadata }) => kind === 'NetworkPolicy' && metadata.namespace === 'agents-sandbox',
    )
    expect(new Set(inSandbox.map(({ metadata }) => metadata.name))).toEqual(new Set(['door', 'nothing']))
    expect(JSON.stringify(policy('door'))).not.toMatch(/"port":53|ipBlock/)
  })

  test.each(Object.entries(overlays))('%s: the step function may do four things', (_, resources) => {
    const of = (kind: string) => resources.filter((one) => one.kind === kind)
    expect(of('Role').map((one) => one['rules'])).toEqual([
      [
        { apiGroups: ['batch'], resources: ['jobs'], verbs: ['create', 'get', 'delete'] },
        { apiGroups: [''], resources: ['pods'], verbs: ['list'] },
      ],
    ])
    expect(of('RoleBinding').map((one) => one['subjects'])).toEqual([
      [{ kind: 'ServiceAccount', name: 'agent-step', namespace: 'agents' }],
    ])
    for (const one of of('ServiceAccount'))
      expect(one['automountServiceAccountToken']).toBe(one.metadata.name === 'agent-step' ? undefined : false)
  })

  test('the overlays differ in addresses, settings, images, windows and the cores asked for, and in nothing else', () => {
    const plain = (resources: readonly Resource[] | undefined) =>
      workloads(resources ?? []).map(({ name, annotations, pod }) => ({
        name,
        annotations: Object.fromEntries(
          Object.entries(annotations).filter(([key]) => !/window|retention-period/.test(key)),
        ),
        pod: {
          ...pod,
          containers: pod.containers.map((one) => ({
            ...one,
            image: '',
            resources: { ...one.resources, requests: { ...one.resources.requests, cpu: '' } },
          })),
        },
      }))
    expect(plain(overlays['test'])).toEqual(plain(overlays['sks']))
  })
})
