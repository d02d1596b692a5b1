import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { inject } from 'vitest'
import type { ServiceName } from '../../shared/config/settings.ts'
import { kubectl, kubectlJson } from './run.ts'

/** What setup-secrets.sh stores per function; everything else is the ConfigMap's. */
const SECRET_NAMES = [
  'SUPABASE_ANON_KEY',
  'SUPABASE_ROLE_TOKEN',
  'UPSTASH_REDIS_REST_TOKEN',
  'TRUSTED_ISSUERS',
  'QSTASH_TOKEN',
  'QSTASH_CURRENT_SIGNING_KEY',
  'QSTASH_NEXT_SIGNING_KEY',
  'ANTHROPIC_API_KEY',
  'AGENT_SECRET',
  'SWEEP_SECRET',
] as const
const SETTING_NAMES = [
  'PUBLIC_BASE_URL',
  'SUPABASE_URL',
  'UPSTASH_REDIS_REST_URL',
  'QSTASH_URL',
  'ANTHROPIC_BASE_URL',
  'AGENT_MODEL',
  'ALLOWED_ORIGINS',
] as const
/** Knative's cluster-local gateway. */
const LOCAL_GATEWAY = readGateway(process.env['CLUSTER_LOCAL_GATEWAY'] ?? 'ingress/local')

function readGateway(text: string): { namespace: string; name: string } {
  const [namespace = '', name = ''] = text.split('/')
  return { namespace, name }
}

export const SERVICES = ['execute', 'status', 'logs', 'step', 'door'] as const satisfies ServiceName[]

/**
 * Applies the overlay with this machine's addresses and keys, and waits until all five services are ready.
 *
 * @param components of knative/components, besides those of the overlay
 */
export async function install(
  settings: Readonly<Record<string, string>> = {},
  components: readonly string[] = [],
): Promise<void> {
  const ground = inject('ground')
  const { root, overlay, tag, environments } = ground
  const dir = join(root, '.local/cluster-overlay')
  await rm(dir, { recursive: true, force: true })
  await mkdir(dir, { recursive: true })
  const shared = {
    ...Object.fromEntries(
      SETTING_NAMES.map((name) => [name, environments.step[name] ?? environments.execute[name]]),
    ),
    TOOL_IMAGE: `dev.local/agent-tools:${tag}`,
    DOOR_ADDRESS: await gatewayAddress(),
    ...settings,
  }
  const kustomization = {
    apiVersion: 'kustomize.config.k8s.io/v1beta1',
    kind: 'Kustomization',
    resources: [relative(dir, overlay)],
    components: components.map((name) => relative(dir, join(root, 'knative/components', name))),
    images: [
      { name: 'dev.local/agent-functions', newTag: tag },
      ...['functions', 'egress', 'router'].map((name) => ({
        name: `agent-${name}`,
        newName: `dev.local/agent-${name}`,
        newTag: tag,
      })),
    ],
    ...(components.includes('router')
      ? {
          configMapGenerator: [
            {
              name: 'agent-router-gateway',
              namespace: 'agents',
              behavior: 'merge',
              literals: [
                `gateway.conf=upstream gateway { server ${LOCAL_GATEWAY.name}.${LOCAL_GATEWAY.namespace}.svc.cluster.local:80; keepalive 32; }`,
              ],
            },
          ],
        }
      : {}),
    patches: [
      {
        patch: JSON.stringify({
          apiVersion: 'v1',
          kind: 'ConfigMap',
          metadata: { name: 'agent-settings', namespace: 'agents' },
          data: shared,
        }),
      },
    ],
  }
  await writeFile(join(dir, 'kustomization.yaml'), JSON.stringify(kustomization, null, 2))
  const manifests = await kubectl(['kustomize', dir])
  // namespaces first: secrets go where the services will look for them
  await kubectl(['apply', '-f', join(root, 'knative/base/namespaces.yaml')])
  for (const service of SERVICES)
    await kubectl(['apply', '-f', '-'], secretOf(service, environments[service]))
  await kubectl(['apply', '-f', '-'], manifests)
  await kubectl(['wait', 'ksvc', '--all', '-n', 'agents', '--for=condition=Ready', '--timeout=180s'])
}

/** The cluster IP of Knative's cluster-local gateway: tool pods are told where the door is, for they have no DNS. */
export async function gatewayAddress(): Promise<string> {
  const { spec } = await kubectlJson<{ spec: { clusterIP: string } }>([
    'get',
    'service',
    LOCAL_GATEWAY.name,
    '-n',
    LOCAL_GATEWAY.namespace,
  ])
  return spec.clusterIP
}

function secretOf(service: ServiceName, values: Readonly<Record<string, string>>): string {
  const stringData = Object.fromEntries(
    SECRET_NAMES.filter((name) => values[name] !== undefined).map((name) => [name, values[name]]),
  )
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: `agent-${service}`, namespace: 'agents' },
    stringData,
  })
}
