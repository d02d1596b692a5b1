import type { Revisions } from './functions.ts'
import type { Kubectl } from './kubectl.ts'
import { type Images, RELEASE_LABEL } from './release.ts'

/** More than anybody goes back; Knative itself keeps 20 revisions that do not serve. */
const MAX_RELEASES = 10
const NAME = 'agent-releases'

/** A release that was ready and held the contract. */
export interface Release {
  at: string
  revisions: Revisions
  images?: Images | undefined
}

/** Newest first. */
export async function readHistory(kubectl: Kubectl, namespace: string): Promise<Release[]> {
  const { code, stdout } = await kubectl.run([
    'get',
    'configmap',
    NAME,
    '--namespace',
    namespace,
    '--output',
    'json',
  ])
  if (code !== 0) return []
  const { data } = JSON.parse(stdout) as { data?: { releases?: string } }
  return JSON.parse(data?.releases ?? '[]') as Release[]
}

/** Puts a release in front; nothing happens when it is there already. */
export async function recordRelease(kubectl: Kubectl, namespace: string, release: Release): Promise<void> {
  const history = await readHistory(kubectl, namespace)
  if (history[0] !== undefined && isSame(history[0].revisions, release.revisions)) return
  const releases = [release, ...history].slice(0, MAX_RELEASES)
  const object = {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: {
      name: NAME,
      namespace,
      labels: { [RELEASE_LABEL]: namespace, 'app.kubernetes.io/part-of': 'agent-functions' },
    },
    data: { releases: JSON.stringify(releases) },
  }
  await kubectl.must(
    ['apply', '--server-side', '--force-conflicts', '--field-manager=deploy', '--filename=-'],
    JSON.stringify(object),
  )
}

/** The good release to go back to from what serves now; undefined when there is none. */
export function releaseBefore(history: readonly Release[], serving: Revisions): Release | undefined {
  const index = history.findIndex(({ revisions }) => isSame(revisions, serving))
  return history[index + 1]
}

export function isSame(a: Revisions, b: Revisions): boolean {
  const names = Object.keys(a)
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name])
}
