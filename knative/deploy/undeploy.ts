import type { Kubectl } from './kubectl.ts'
import { RELEASE_LABEL } from './release.ts'
import type { Manifest } from './render.ts'
import type { Screen } from './screen.ts'
import { FUNCTIONS } from './secret-table.ts'

/** Everything that carries the label of this installation, but namespaces. */
export async function readDeployed(
  kubectl: Kubectl,
  manifests: readonly Manifest[],
  namespace: string,
): Promise<Manifest[]> {
  const kinds = new Set(manifests.map(({ apiVersion, kind }) => kindName(apiVersion, kind)))
  kinds.add('ConfigMap')
  const found: Manifest[] = []
  for (const kind of kinds) {
    const { code, stdout } = await kubectl.run([
      'get',
      kind,
      '--all-namespaces',
      '--selector',
      `${RELEASE_LABEL}=${namespace}`,
      '--output',
      'json',
    ])
    // a kind that the cluster does not know has no objects
    if (code === 0) found.push(...(JSON.parse(stdout) as { items: Manifest[] }).items)
  }
  return found
}

/** `Service.v1.serving.knative.dev`: two groups have a Service. */
function kindName(apiVersion: string, kind: string): string {
  const [group, version] = apiVersion.split('/')
  return version === undefined ? kind : `${kind}.${version}.${group}`
}

export async function undeploy(
  kubectl: Kubectl,
  deployed: readonly Manifest[],
  { namespace, withSecrets, screen }: { namespace: string; withSecrets: boolean; screen: Screen },
): Promise<void> {
  const objects = deployed.filter(({ kind }) => kind !== 'Namespace')
  // functions first: what they still do, they do with everything in place
  const ordered = objects.toSorted(
    (a, b) => Number(b.apiVersion.startsWith('serving.')) - Number(a.apiVersion.startsWith('serving.')),
  )
  const items = ordered.map(({ apiVersion, kind, metadata: { name, namespace: home } }) => ({
    apiVersion,
    kind,
    metadata: home === undefined ? { name } : { name, namespace: home },
  }))
  if (items.length > 0)
    await kubectl.must(
      ['delete', '--ignore-not-found', '--wait', '--timeout=300s', '--filename=-'],
      JSON.stringify({ apiVersion: 'v1', kind: 'List', items }),
    )
  screen.line(`${items.length} objects removed`)
  await waitForPods(kubectl, namespace, screen)
  if (withSecrets) {
    await kubectl.must([
      'delete',
      'secret',
      '--ignore-not-found',
      '--namespace',
      namespace,
      '--selector',
      'app.kubernetes.io/managed-by=setup-secrets',
    ])
    screen.line(`Secrets of ${FUNCTIONS.join(', ')} removed`)
  }
  for (const { metadata } of deployed.filter(({ kind }) => kind === 'Namespace')) {
    const left = await leftIn(kubectl, metadata.name)
    if (left.length > 0) {
      screen.line(
        `Namespace ${metadata.name} stays: ${left.slice(0, 8).join(', ')}${left.length > 8 ? ' …' : ''} in it`,
      )
      continue
    }
    await kubectl.must(['delete', 'namespace', metadata.name, '--wait', '--timeout=300s'])
    screen.line(`Namespace ${metadata.name} removed`)
  }
}

/** Requests that are in flight may end: a pod has as long as its function's timeout. */
async function waitForPods(kubectl: Kubectl, namespace: string, screen: Screen): Promise<void> {
  const selector = `serving.knative.dev/service in (${FUNCTIONS.join(',')})`
  const { stdout } = await kubectl.run([
    'get',
    'pods',
    '--namespace',
    namespace,
    '--selector',
    selector,
    '--output=name',
  ])
  const pods = stdout.split('\n').filter((name) => name !== '')
  if (pods.length === 0) return
  screen.line(`${pods.length} pods end (5 minutes at most)`)
  await kubectl.run(['wait', '--for=delete', '--namespace', namespace, '--timeout=330s', ...pods])
}

/** What a namespace has by itself, or what goes with what was just removed. */
const OWN =
  /^(event|endpoints|endpointslice|pod|podmetrics|replicaset|lease|revision|configuration|route|serverlessservice|podautoscaler|metric|image|ingress|configmap\/kube-root-ca\.crt$|serviceaccount\/default$)/

async function leftIn(kubectl: Kubectl, namespace: string): Promise<string[]> {
  const kinds = (await kubectl.must(['api-resources', '--namespaced', '--verbs=list', '--output=name']))
    .split('\n')
    .filter((kind) => kind !== '')
  const { stdout } = await kubectl.run([
    'get',
    kinds.join(','),
    '--namespace',
    namespace,
    '--ignore-not-found',
    '--output=name',
  ])
  return [...new Set(stdout.split('\n').filter((name) => name !== '' && !OWN.test(name)))]
}
