import {
  BatchV1Api,
  CoreV1Api,
  createConfiguration,
  KubeConfig,
  ServerConfiguration,
} from '@kubernetes/client-node'
import type { KubernetesSandboxOptions } from './options.ts'

export interface Client {
  jobs: BatchV1Api
  pods: CoreV1Api
}

/** As the service account of this pod; its token is read again as it is renewed. */
export function connect(options: Pick<KubernetesSandboxOptions, 'kubeconfig' | 'timeoutMs'>): Client {
  const config = new KubeConfig()
  if (options.kubeconfig === undefined) config.loadFromCluster()
  else config.loadFromFile(options.kubeconfig)
  const cluster = config.getCurrentCluster()
  if (cluster === null) throw new Error('this process does not run in a cluster')
  const settings = createConfiguration({
    baseServer: new ServerConfiguration(cluster.server, {}),
    authMethods: { default: config },
    promiseMiddleware: [
      {
        pre: (context) => {
          context.setSignal(AbortSignal.timeout(options.timeoutMs ?? 10_000))
          return Promise.resolve(context)
        },
        post: (context) => Promise.resolve(context),
      },
    ],
  })
  return { jobs: new BatchV1Api(settings), pods: new CoreV1Api(settings) }
}
