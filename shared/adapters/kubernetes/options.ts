/** How tool jobs are made in a cluster. */
export interface KubernetesSandboxOptions {
  namespace: string
  /** Image of both containers: holds the runner and the executor in /opt/agent-functions. */
  image: string
  /** Address of the door's host; with it a job has no DNS. '': as the cluster resolves. */
  doorAddress: string
  /** '': the cluster's default. */
  runtimeClass: string
  /** False: a user namespace for each pod, where the nodes can. */
  hostUsers: boolean
  /** Egress proxy of tools. '': none, no internet. */
  proxyUrl: string
  /** Thousandths of a core, for the tool. */
  cpuMillicores: number
  /** For tests; the default is the cluster that this runs in. */
  kubeconfig?: string
  /** Of one call. Default 10,000. */
  timeoutMs?: number
}
