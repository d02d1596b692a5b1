import { spawnSync } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { loadAllYaml } from '@kubernetes/client-node'
import * as z from 'zod'

export const knative = resolve(import.meta.dirname, '../../knative')

const resource = z.looseObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: z.looseObject({
    name: z.string(),
    namespace: z.string().optional(),
    labels: z.record(z.string(), z.string()).optional(),
    annotations: z.record(z.string(), z.string()).optional(),
  }),
})
export type Resource = z.infer<typeof resource>

export const hasKubectl = spawnSync('kubectl', ['version', '--client']).status === 0

/** Documents of a YAML file or of kustomize's output. */
export function parseYaml(text: string): Resource[] {
  return loadAllYaml(text)
    .filter((value) => value !== null && value !== undefined)
    .map((value) => resource.parse(value))
}

/** What `kubectl kustomize` makes of an overlay. */
export function render(overlay: string): Resource[] {
  return parseYaml(renderText(join(knative, 'overlays', overlay)))
}

function renderText(folder: string): string {
  const { status, stdout, stderr } = spawnSync('kubectl', ['kustomize', folder], { encoding: 'utf8' })
  if (status !== 0) throw new Error(stderr)
  return stdout
}

/** The overlay with further components, as an operator would write it: from a copy of knative/, so that the tree stays as it is. */
export async function renderWith(overlay: string, components: readonly string[]): Promise<string> {
  const copy = await mkdtemp(join(tmpdir(), 'knative-'))
  try {
    await cp(knative, copy, { recursive: true })
    const file = join(copy, 'overlays', overlay, 'kustomization.yaml')
    const lines = components.map((name) => `  - ../../components/${name}\n`).join('')
    await writeFile(file, (await readFile(file, 'utf8')).replace('components:\n', `components:\n${lines}`))
    return renderText(join(copy, 'overlays', overlay))
  } finally {
    await rm(copy, { recursive: true, force: true })
  }
}

const container = z.looseObject({
  name: z.string(),
  image: z.string(),
  env: z
    .array(
      z.union([
        z.strictObject({ name: z.string(), value: z.string() }),
        z.strictObject({
          name: z.string(),
          valueFrom: z.strictObject({
            secretKeyRef: z.strictObject({ name: z.string(), key: z.string() }),
          }),
        }),
      ]),
    )
    .optional(),
  envFrom: z
    .array(
      z.object({
        configMapRef: z.object({ name: z.string() }).optional(),
        secretRef: z.object({ name: z.string() }).optional(),
      }),
    )
    .optional(),
  resources: z.object({
    requests: z.record(z.string(), z.string()),
    limits: z.record(z.string(), z.string()),
  }),
  securityContext: z.looseObject({}),
  readinessProbe: z.looseObject({ periodSeconds: z.number().optional() }).optional(),
  livenessProbe: z.looseObject({}).optional(),
})
const pod = z.looseObject({
  serviceAccountName: z.string(),
  automountServiceAccountToken: z.boolean().optional(),
  enableServiceLinks: z.boolean(),
  containers: z.array(container),
  initContainers: z.undefined().optional(),
  volumes: z.array(z.looseObject({ name: z.string() })).optional(),
  containerConcurrency: z.number().optional(),
  timeoutSeconds: z.number().optional(),
  responseStartTimeoutSeconds: z.number().optional(),
})
const template = z.looseObject({
  metadata: z.looseObject({ annotations: z.record(z.string(), z.string()).optional() }).optional(),
  spec: pod,
})

export type Pod = z.infer<typeof pod>

export interface Workload {
  name: string
  kind: string
  namespace: string | undefined
  annotations: Readonly<Record<string, string>>
  pod: Pod
}

/** Everything that makes pods. */
export function workloads(resources: readonly Resource[]): Workload[] {
  return resources.flatMap((one) => {
    const found = templateOf(one)
    if (found === undefined) return []
    const parsed = template.parse(found)
    const { name, namespace } = one.metadata
    return [
      { name, kind: one.kind, namespace, annotations: parsed.metadata?.annotations ?? {}, pod: parsed.spec },
    ]
  })
}

const withTemplate = z.looseObject({ spec: z.looseObject({ template: z.unknown() }) })
const cronJob = z.looseObject({
  spec: z.looseObject({
    jobTemplate: z.looseObject({ spec: z.looseObject({ template: z.unknown() }) }),
  }),
})

function templateOf(one: Resource): unknown {
  if (one.kind === 'CronJob') return cronJob.parse(one).spec.jobTemplate.spec.template
  if (one.kind === 'Deployment' || one.apiVersion.startsWith('serving.knative.dev/'))
    return withTemplate.parse(one).spec.template
  return undefined
}
