import type { V1PodSpec, V1SecurityContext } from '@kubernetes/client-node'
import type { KubernetesSandboxOptions } from './options.ts'

/** Pod Security `restricted`, and a root that cannot be written. */
export const SEALED_CONTAINER: V1SecurityContext = {
  allowPrivilegeEscalation: false,
  privileged: false,
  readOnlyRootFilesystem: true,
  runAsNonRoot: true,
  capabilities: { drop: ['ALL'] },
  seccompProfile: { type: 'RuntimeDefault' },
}

export function podSecurity(
  id: number,
  options: Pick<KubernetesSandboxOptions, 'hostUsers' | 'runtimeClass'>,
): Pick<
  V1PodSpec,
  | 'serviceAccountName'
  | 'automountServiceAccountToken'
  | 'enableServiceLinks'
  | 'shareProcessNamespace'
  | 'securityContext'
  | 'hostUsers'
  | 'runtimeClassName'
> {
  return {
    serviceAccountName: 'tool',
    automountServiceAccountToken: false,
    // They would name every service of the namespace, with its address.
    enableServiceLinks: false,
    // The tool must not see the runner's /proc: the token is in its environment.
    shareProcessNamespace: false,
    securityContext: {
      runAsNonRoot: true,
      runAsUser: id,
      runAsGroup: id,
      fsGroup: id,
      fsGroupChangePolicy: 'OnRootMismatch',
      supplementalGroups: [],
      seccompProfile: { type: 'RuntimeDefault' },
    },
    ...(options.hostUsers ? {} : { hostUsers: false }),
    ...(options.runtimeClass === '' ? {} : { runtimeClassName: options.runtimeClass }),
  }
}
