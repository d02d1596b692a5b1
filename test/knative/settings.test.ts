import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import * as z from 'zod'
import { readConfig } from '../../shared/config/read-config.ts'
import { common, door, execute, front, logs, SERVICES, status, step } from '../../shared/config/settings.ts'
import { hasKubectl, knative, type Pod, parseYaml, render, workloads } from './rendered.ts'

type Service = (typeof SERVICES)[number]
const known: Record<Service, Readonly<Record<string, { env: string }>>> = {
  execute: { ...common, ...front, ...execute },
  status: { ...common, ...front, ...status },
  logs: { ...common, ...front, ...logs },
  step: { ...common, ...step },
  door: { ...common, ...door },
}
/** Values of the form that a real one has. */
const plausible: Record<string, string> = {
  TRUSTED_ISSUERS: JSON.stringify([
    {
      issuer: 'https://a.example/auth/v1',
      jwks: 'https://a.example/jwks',
      audience: 'authenticated',
      user_id: 'sub',
    },
  ]),
  AGENT_SECRET: 'x'.repeat(32),
  SWEEP_SECRET: 'y'.repeat(32),
}

const secrets = z.array(
  z.looseObject({
    metadata: z.looseObject({ name: z.string() }),
    stringData: z.record(z.string(), z.string()),
  }),
)

async function secretKeys(): Promise<Map<string, string[]>> {
  const parsed = secrets.parse(parseYaml(await readFile(join(knative, 'secrets.example.yaml'), 'utf8')))
  return new Map(parsed.map(({ metadata, stringData }) => [metadata.name, Object.keys(stringData)]))
}

const own = (pod: Pod) =>
  Object.fromEntries(
    (pod.containers[0]?.env ?? []).flatMap((one) => ('value' in one ? [[one.name, one.value]] : [])),
  )

describe.skipIf(!hasKubectl)('settings', () => {
  const overlays = hasKubectl ? { sks: render('sks'), test: render('test') } : {}

  test.each(Object.entries(overlays))('%s: each function gets all that it needs', async (_, resources) => {
    const keys = await secretKeys()
    const shared = z
      .record(z.string(), z.string())
      .parse(
        resources.find(({ kind, metadata }) => kind === 'ConfigMap' && metadata.name === 'agent-settings')?.[
          'data'
        ],
      )
    for (const service of SERVICES) {
      const name = `agent-${service}`
      const pod = workloads(resources).find((one) => one.name === name)?.pod
      if (pod === undefined) throw new Error(`no ${name}`)
      expect(pod.containers[0]?.envFrom).toEqual([
        { configMapRef: { name: 'agent-settings' } },
        { secretRef: { name } },
      ])
      const secret = keys.get(name) ?? []
      const env = {
        ...shared,
        ...Object.fromEntries(secret.map((key) => [key, plausible[key] ?? 'value'])),
        ...own(pod),
      }
      expect(env['FUNCTION_TARGET']).toBe(service)
      expect(() => readConfig(service, env), name).not.toThrow()
      // least privilege: what a function does not read, it is not given
      const names = new Set(Object.values(known[service]).map((one) => one.env))
      for (const key of secret) expect(names, `${name}: ${key}`).toContain(key)
      for (const key of Object.keys(own(pod)))
        if (key !== 'FUNCTION_TARGET') expect(names, `${name}: ${key}`).toContain(key)
      // and no secret stands in a manifest
      for (const key of Object.keys({ ...shared, ...own(pod) })) expect(key).not.toMatch(/SECRET|TOKEN|KEY/)
    }
  })

  test.each(Object.entries(overlays))('%s: the numbers fit each other', async (_, resources) => {
    const quota = z
      .object({ hard: z.looseObject({ pods: z.string() }) })
      .parse(
        resources.find(({ kind, metadata }) => kind === 'ResourceQuota' && metadata.name === 'services')?.[
          'spec'
        ],
      )
    let pods = 0
    for (const { name, annotations, pod } of workloads(resources)) {
      const { timeoutSeconds, responseStartTimeoutSeconds } = pod
      if (timeoutSeconds === undefined) throw new Error(`${name}: timeoutSeconds is not given`)
      // the greatest that Knative allows by itself; and what starts to answer may take as long as what answers
      expect(timeoutSeconds, name).toBeLessThanOrEqual(600)
      expect(responseStartTimeoutSeconds, name).toBe(timeoutSeconds)
      expect(pod.containerConcurrency, name).toBeTypeOf('number')
      // what is in flight ends before the pod's grace period, which is timeoutSeconds
      expect(Number(own(pod)['SHUTDOWN_SECONDS']), name).toBeLessThan(timeoutSeconds)
      expect(
        Number(annotations['autoscaling.knative.dev/window']?.replace('s', '')),
        name,
      ).toBeGreaterThanOrEqual(6)
      expect(annotations['autoscaling.knative.dev/min-scale'], name).toBe('0')
      pods += Number(annotations['autoscaling.knative.dev/max-scale'])
      for (const what of ['cpu-resource-request', 'memory-resource-request', 'memory-resource-limit'])
        expect(annotations, name).toHaveProperty([`queue.sidecar.serving.knative.dev/${what}`])
      // a low limit would throttle the start; Knative's aggressive probe takes no period
      expect(pod.containers[0]?.resources.limits, name).not.toHaveProperty('cpu')
      expect(pod.containers[0]?.readinessProbe, name).toEqual({ httpGet: { path: '/health/readiness' } })
      expect(pod.containers[0]?.livenessProbe, name).toMatchObject({ httpGet: { path: '/health/liveness' } })
    }
    // a second revision of everything while one rolls out
    expect(Number(quota.hard.pods)).toBeGreaterThanOrEqual(2 * pods)
    const of = (name: string) => {
      const found = workloads(resources).find((one) => one.name === name)
      if (found === undefined) throw new Error(`no ${name}`)
      return { timeout: Number(found.pod.timeoutSeconds), env: own(found.pod), pod: found.pod }
    }
    const stepOf = of('agent-step')
    expect(Number(stepOf.env['STEP_DEADLINE_SECONDS'])).toBe(stepOf.timeout - 30)
    expect(Number(stepOf.env['STEP_DEADLINE_SECONDS'])).toBeLessThan(Number(stepOf.env['SHUTDOWN_SECONDS']))
    expect(Number(of('agent-logs').env['STREAM_MAX_SECONDS'])).toBeLessThanOrEqual(
      of('agent-logs').timeout - 20,
    )
    expect(of('agent-logs').pod.containerConcurrency).toBe(0)
  })
})
