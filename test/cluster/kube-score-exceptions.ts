interface Exception {
  /** Id of kube-score's check. */
  check: string
  /** Objects, as kube-score names them. */
  of: RegExp
  reason: string
}

const OF_KNATIVE = /\/agent-\w+-deployment$/

/** What kube-score would have otherwise, and why it is as it is. */
export const exceptions: readonly Exception[] = [
  {
    check: 'container-image-pull-policy',
    of: /\/(agent-(\w+-deployment|router|sweeper)|egress)$/,
    reason:
      'images are named by digest or by a tag that is never used again; asking the registry would slow a start from zero',
  },
  {
    check: 'container-resources',
    of: OF_KNATIVE,
    reason: 'a limit of the processor would throttle the start, while a person waits; memory has one',
  },
  {
    check: 'deployment-has-poddisruptionbudget',
    of: OF_KNATIVE,
    reason:
      'Knative makes these Deployments and takes them to zero: a budget would hold up drains for pods that may go at any time',
  },
  {
    check: 'deployment-has-host-podantiaffinity',
    of: OF_KNATIVE,
    reason: 'Knative spreads them by itself (default-affinity-type); the field is behind a flag',
  },
  {
    check: 'deployment-replicas',
    of: /\/egress$/,
    reason: 'a tool tries again; a second proxy would be idle cost for what few jobs use',
  },
  {
    check: 'container-resources',
    of: /\/tool$/,
    reason: 'stands for a tool job in the eyes of the policies; the real one is tested where it is made',
  },
  {
    check: 'container-ephemeral-storage-request-and-limit',
    of: /\/tool$/,
    reason: 'as above',
  },
]
