import type { Kubectl } from './kubectl.ts'
import type { Manifest } from './render.ts'

interface Route {
  rules?: { backendRefs?: { name: string; namespace?: string }[] }[]
}

/**
 * The cluster IP of the gateway that the routes send to, which is Knative's cluster-local one: tool jobs have no DNS and are told where
 * the door is. Undefined without a route or when the gateway has no address of its own.
 */
export async function doorAddress(
  kubectl: Kubectl,
  manifests: readonly Manifest[],
): Promise<string | undefined> {
  const route = manifests.find(({ kind }) => kind === 'HTTPRoute')
  const gateway = (route?.spec as Route | undefined)?.rules?.[0]?.backendRefs?.[0]
  const namespace = gateway?.namespace ?? route?.metadata.namespace
  if (gateway === undefined || namespace === undefined) return undefined
  const found = await kubectl.run([
    'get',
    'service',
    gateway.name,
    '-n',
    namespace,
    '-o',
    'jsonpath={.spec.clusterIP}',
  ])
  return found.code === 0 && /^[\da-f.:]+$/i.test(found.stdout) ? found.stdout : undefined
}
