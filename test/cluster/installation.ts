import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { inject } from 'vitest'
import { SECRET_NAMES, type Values } from '../../knative/deploy/secret-table.ts'
import { writeSecrets } from '../../knative/deploy/stored-secrets.ts'
import { kubectl, kubectlClient, kubectlJson } from './run.ts'
import type { Ground } from './setup.ts'

/** What is not secret; the rest is in the table of setup-secrets.sh. */
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
    patches: [
      ...(components.includes('router') ? [{ patch: routerGateway() }] : []),
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
  await writeSecrets(kubectlClient, 'agents', secrets(environments))
  await kubectl(['apply', '-f', '-'], manifests)
  await kubectl(['wait', 'ksvc', '--all', '-n', 'agents', '--for=condition=Ready', '--timeout=180s'])
}

/** The one line of the router that differs between clusters. */
function routerGateway(): string {
  const { name, namespace } = LOCAL_GATEWAY
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'agent-router-gateway', namespace: 'agents' },
    data: {
      'gateway.conf': `upstream gateway { server ${name}.${namespace}.svc.cluster.local:80; keepalive 32; }`,
    },
  })
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

/** The same values that an operator gives to setup-secrets.sh: each function gets what its table says, and nothing else. */
function secrets({ execute, step, door }: Ground['environments']): Values {
  const all: Record<string, string | undefined> = {
    ...step,
    ...execute,
    STEP_SUPABASE_ROLE_TOKEN: step['SUPABASE_ROLE_TOKEN'],
    DOOR_SUPABASE_ROLE_TOKEN: door['SUPABASE_ROLE_TOKEN'],
    // the stack's functions have one, for STORE=postgres; those in the cluster go through PostgREST
    DATABASE_URL: undefined,
  }
  return Object.fromEntries(
    SECRET_NAMES.flatMap((name) => (all[name] === undefined ? [] : [[name, all[name]]])),
  )
}
