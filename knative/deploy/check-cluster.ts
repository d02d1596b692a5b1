import type { Kubectl } from './kubectl.ts'
import { isFunction } from './release.ts'
import type { Manifest } from './render.ts'

/** Oldest that the manifests are proved on (Kubernetes 1.34 is what Knative 1.23 asks for). */
const MIN_KUBERNETES_MINOR = 34
const MIN_KNATIVE_MINOR = 20

/** What is wrong with the cluster for these manifests, each with what to do. */
export async function checkCluster(kubectl: Kubectl, manifests: readonly Manifest[]): Promise<string[]> {
  const version = await kubectl.run(['version', '--output', 'json'])
  const server =
    version.code === 0
      ? (JSON.parse(version.stdout) as { serverVersion?: { minor: string } }).serverVersion
      : undefined
  if (server === undefined)
    return [
      'The cluster cannot be reached: look at `kubectl config get-contexts`, or name one with --context.',
    ]
  const faults: string[] = []
  const minor = Number.parseInt(server.minor, 10)
  if (minor < MIN_KUBERNETES_MINOR)
    faults.push(
      `Kubernetes is 1.${minor}: upgrade it to 1.${MIN_KUBERNETES_MINOR} or newer (exo compute sks upgrade).`,
    )
  const found = await Promise.all([
    checkKinds(kubectl, manifests),
    checkKnative(kubectl),
    checkRoutes(kubectl, manifests),
    checkNodes(kubectl),
  ])
  return [...faults, ...found.flat()]
}

const WHENCE: Readonly<Record<string, string>> = {
  'serving.knative.dev': 'install Knative Serving',
  'gateway.networking.k8s.io': 'install the Gateway API (standard channel)',
  'cert-manager.io': 'install cert-manager',
}

async function checkKinds(kubectl: Kubectl, manifests: readonly Manifest[]): Promise<string[]> {
  const groups = [
    ...new Set(manifests.map(({ apiVersion }) => apiVersion).filter((one) => one.includes('/'))),
  ]
  const { code, stdout } = await kubectl.run(['api-versions'])
  if (code !== 0) return ['The cluster does not say which API versions it has (kubectl api-versions).']
  const served = new Set(stdout.split('\n'))
  return groups
    .filter((group) => !served.has(group))
    .map(
      (group) =>
        `The cluster does not know ${group}: ${WHENCE[group.split('/')[0] ?? ''] ?? 'install what provides it'} (docs/deploying.md).`,
    )
}

async function checkKnative(kubectl: Kubectl): Promise<string[]> {
  const { code, stdout } = await kubectl.run([
    'get',
    'deployments,configmaps',
    '--namespace',
    'knative-serving',
    '--output',
    'json',
  ])
  if (code !== 0)
    return [
      'The namespace knative-serving cannot be read: install Knative Serving, or ask for the right to read it.',
    ]
  const { items } = JSON.parse(stdout) as {
    items: (Manifest & { status?: { availableReplicas?: number } })[]
  }
  const faults: string[] = []
  const named = (kind: string, name: string) =>
    items.find((item) => item.kind === kind && item.metadata.name === name)
  for (const name of ['activator', 'autoscaler', 'controller', 'webhook']) {
    const one = named('Deployment', name)
    if (one === undefined) faults.push(`Knative has no ${name}: install Knative Serving (docs/deploying.md).`)
    else if ((one.status?.availableReplicas ?? 0) < 1)
      faults.push(
        `Knative's ${name} does not run: kubectl describe deployment ${name} --namespace knative-serving.`,
      )
  }
  // builds of one's own say `devel`: nothing can be told from that
  const release = /^v?1\.(\d+)/.exec(
    named('Deployment', 'controller')?.metadata.labels?.['app.kubernetes.io/version'] ?? '',
  )
  if (release !== null && Number(release[1]) < MIN_KNATIVE_MINOR)
    faults.push(
      `Knative is ${release[0]}: upgrade it to 1.${MIN_KNATIVE_MINOR} or newer, one minor version at a time.`,
    )
  const network = named('ConfigMap', 'config-network')?.data ?? {}
  if ((network['ingress-class'] ?? network['ingress.class'] ?? '') === '')
    faults.push(
      'Knative has no ingress class: set ingress-class in the ConfigMap config-network of knative-serving, e.g. kourier.ingress.networking.knative.dev.',
    )
  return faults
}

interface Reference {
  name: string
  namespace?: string
  kind?: string
}
interface RouteSpec {
  parentRefs?: Reference[]
  rules?: { backendRefs?: Reference[] }[]
}
interface Grant {
  spec: { from: { kind: string; namespace: string }[]; to: { kind: string; name?: string }[] }
}

/** Each route hangs on a gateway that works, and may use the service it leads to. */
async function checkRoutes(kubectl: Kubectl, manifests: readonly Manifest[]): Promise<string[]> {
  const faults: string[] = []
  for (const route of manifests.filter(({ kind }) => kind === 'HTTPRoute')) {
    const { parentRefs = [], rules = [] } = route.spec as RouteSpec
    const home = route.metadata.namespace ?? 'default'
    const gateways = await Promise.all(
      parentRefs.map((parent) => checkGateway(kubectl, manifests, parent.name, parent.namespace ?? home)),
    )
    const services = new Map(
      rules
        .flatMap(({ backendRefs = [] }) => backendRefs)
        .map((one) => [`${one.namespace ?? home}/${one.name}`, one]),
    )
    const backends = await Promise.all(
      [...services.values()].map(({ name, namespace = home }) =>
        checkBackend(kubectl, manifests, { name, namespace, home }),
      ),
    )
    faults.push(...gateways.flat(), ...backends.flat())
  }
  return [...new Set(faults)]
}

async function checkGateway(
  kubectl: Kubectl,
  manifests: readonly Manifest[],
  name: string,
  namespace: string,
): Promise<string[]> {
  const ours = manifests.find(
    (one) => one.kind === 'Gateway' && one.metadata.name === name && one.metadata.namespace === namespace,
  )
  const there =
    ours === undefined
      ? await get(kubectl, ['gateway.gateway.networking.k8s.io', name, '--namespace', namespace])
      : ours
  if (there === undefined)
    return [`The Gateway ${name} is not in ${namespace}: make it, or name yours in the overlay.`]
  const className = String((there.spec as { gatewayClassName?: string }).gatewayClassName)
  const faults: string[] = []
  const gatewayClass = await get(kubectl, ['gatewayclass.gateway.networking.k8s.io', className])
  if (gatewayClass === undefined)
    faults.push(
      `There is no GatewayClass ${className}: install an implementation of the Gateway API, or name its class in the overlay.`,
    )
  else if (!isTrue(gatewayClass, 'Accepted'))
    faults.push(`The GatewayClass ${className} is not accepted: does its controller run?`)
  if (ours === undefined && !isTrue(there, 'Programmed'))
    faults.push(
      `The Gateway ${name} in ${namespace} is not programmed: kubectl describe gateway ${name} --namespace ${namespace}.`,
    )
  return faults
}

async function checkBackend(
  kubectl: Kubectl,
  manifests: readonly Manifest[],
  { name, namespace, home }: { name: string; namespace: string; home: string },
): Promise<string[]> {
  const ours = manifests.some(
    (one) => one.kind === 'Service' && !isFunction(one) && one.metadata.name === name,
  )
  if (!ours && (await get(kubectl, ['service', name, '--namespace', namespace])) === undefined)
    return [
      `The service ${name} is not in ${namespace}: it is Knative's local gateway; name yours in the overlay.`,
    ]
  if (namespace === home) return []
  const { code, stdout } = await kubectl.run([
    'get',
    'referencegrants.gateway.networking.k8s.io',
    '--namespace',
    namespace,
    '--output',
    'json',
  ])
  const grants = [
    ...manifests.filter((one) => one.kind === 'ReferenceGrant' && one.metadata.namespace === namespace),
    ...(code === 0 ? (JSON.parse(stdout) as { items: Manifest[] }).items : []),
  ] as unknown as Grant[]
  const allowed = grants.some(
    ({ spec }) =>
      spec.from.some((from) => from.kind === 'HTTPRoute' && from.namespace === home) &&
      spec.to.some((to) => to.kind === 'Service' && (to.name === undefined || to.name === name)),
  )
  return allowed ? [] : [`No ReferenceGrant in ${namespace} lets routes of ${home} use the service ${name}.`]
}

/** Images are built for this machine. */
async function checkNodes(kubectl: Kubectl): Promise<string[]> {
  const { code, stdout } = await kubectl.run(['get', 'nodes', '--output', 'json'])
  if (code !== 0) return []
  const { items } = JSON.parse(stdout) as { items: { status: { nodeInfo: { architecture: string } } }[] }
  const ours = process.arch === 'x64' ? 'amd64' : process.arch
  const others = new Set(
    items.map(({ status }) => status.nodeInfo.architecture).filter((one) => one !== ours),
  )
  return others.size === 0
    ? []
    : [
        `Images are built for ${ours}, but there are nodes of ${[...others].join(', ')}: build on one of those and give --image and --tool-image.`,
      ]
}

async function get(kubectl: Kubectl, args: readonly string[]): Promise<Manifest | undefined> {
  const { code, stdout } = await kubectl.run(['get', ...args, '--output', 'json'])
  return code === 0 ? (JSON.parse(stdout) as Manifest) : undefined
}

function isTrue(object: Manifest, type: string): boolean {
  const { conditions = [] } = (object['status'] ?? {}) as { conditions?: { type: string; status: string }[] }
  return conditions.some((one) => one.type === type && one.status === 'True')
}
