import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { loadYaml } from '@kubernetes/client-node'
import * as z from 'zod'

const quantity = z.string().regex(/^\d+(m|Mi|Gi)?$/)

/**
 * What func's schema says of func.yaml (specVersion 0.36.0), as far as a function like ours may use it: unknown fields are refused on
 * every level, as the func CLI would only warn of them and leave them out.
 */
const funcYaml = z.strictObject({
  specVersion: z.literal('0.36.0'),
  name: z.string().regex(/^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$/),
  runtime: z.literal('typescript'),
  created: z.union([z.iso.datetime(), z.date().transform((date) => date.toISOString())]),
  invoke: z.enum(['http', 'cloudevent']),
  build: z.strictObject({
    builder: z.enum(['pack', 's2i']),
    buildEnvs: z.array(z.strictObject({ name: z.string(), value: z.string() })),
  }),
  run: z.strictObject({
    envs: z.array(z.strictObject({ name: z.string().optional(), value: z.string() })),
  }),
  deploy: z.strictObject({
    options: z.strictObject({
      scale: z.strictObject({
        min: z.int().min(0),
        max: z.int().min(0),
        metric: z.enum(['concurrency', 'rps']),
        target: z.number().min(0.01),
        utilization: z.number().min(1).max(100).optional(),
      }),
      resources: z.strictObject({
        requests: z.strictObject({ cpu: quantity, memory: quantity }),
        limits: z.strictObject({
          cpu: quantity.optional(),
          memory: quantity.optional(),
          concurrency: z.int().min(0).max(1000).optional(),
        }),
      }),
    }),
    healthEndpoints: z.strictObject({ liveness: z.string(), readiness: z.string() }),
  }),
})
export type FuncYaml = z.infer<typeof funcYaml>

export async function readFuncYaml(): Promise<FuncYaml> {
  return funcYaml.parse(loadYaml(await readFile(resolve(import.meta.dirname, '../../func.yaml'), 'utf8')))
}

/**
 * The Knative service that `func deploy --image` makes of it: port, probes, security context, scale and resources as func's deployer
 * sets them. It says nothing of timeouts: Knative's 300 s apply.
 */
export function funcService(func: FuncYaml, { namespace, image }: { namespace: string; image: string }) {
  const { scale, resources } = func.deploy.options
  const { cpu, memory, concurrency } = resources.limits
  return {
    apiVersion: 'serving.knative.dev/v1',
    kind: 'Service',
    metadata: {
      name: func.name,
      namespace,
      labels: { 'function.knative.dev/name': func.name, 'function.knative.dev/runtime': func.runtime },
    },
    spec: {
      template: {
        metadata: {
          annotations: {
            'autoscaling.knative.dev/min-scale': String(scale.min),
            'autoscaling.knative.dev/max-scale': String(scale.max),
            'autoscaling.knative.dev/metric': scale.metric,
            'autoscaling.knative.dev/target': String(scale.target),
          },
        },
        spec: {
          ...(concurrency === undefined ? {} : { containerConcurrency: concurrency }),
          containers: [
            {
              name: 'user-container',
              image,
              env: [
                { name: 'BUILT', value: func.created },
                { name: 'ADDRESS', value: '0.0.0.0' },
              ],
              envFrom: func.run.envs.map(({ value }) => ({ secretRef: { name: secretOf(value) } })),
              livenessProbe: { httpGet: { path: func.deploy.healthEndpoints.liveness, port: 8080 } },
              readinessProbe: { httpGet: { path: func.deploy.healthEndpoints.readiness, port: 8080 } },
              securityContext: {
                runAsNonRoot: true,
                allowPrivilegeEscalation: false,
                capabilities: { drop: ['ALL'] },
                seccompProfile: { type: 'RuntimeDefault' },
              },
              resources: {
                requests: resources.requests,
                limits: {
                  ...(cpu === undefined ? {} : { cpu }),
                  ...(memory === undefined ? {} : { memory }),
                },
              },
            },
          ],
        },
      },
    },
  }
}

/** `{{ secret:NAME }}` without a key: everything in it. */
function secretOf(value: string): string {
  const name = /^\{\{ secret:([-a-z0-9]+) \}\}$/.exec(value)?.[1]
  if (name === undefined) throw new Error(`${value} is not a whole secret`)
  return name
}
