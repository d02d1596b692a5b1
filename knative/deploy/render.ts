import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { loadYaml } from '@kubernetes/client-node'
import type { Kubectl } from './kubectl.ts'
import { Refusal } from './refusal.ts'

export const ROOT = resolve(import.meta.dirname, '../..')

/** An object of the cluster, as far as it is looked at here. */
export interface Manifest {
  apiVersion: string
  kind: string
  metadata: {
    name: string
    namespace?: string
    labels?: Record<string, string>
    annotations?: Record<string, string>
  }
  data?: Record<string, string>
  spec?: Record<string, unknown>
  [field: string]: unknown
}

/** `sks` and `test` stand beside the base; anything else is a folder of its own. */
export function overlayDir(overlay: string): string {
  const own = join(ROOT, 'knative/overlays', overlay)
  if (/^[\w-]+$/.test(overlay) && existsSync(own)) return own
  const dir = resolve(overlay)
  if (!existsSync(join(dir, 'kustomization.yaml')))
    throw new Refusal(`There is no overlay ${overlay}: give sks, test or a folder with a kustomization.yaml.`)
  return dir
}

/** The objects of an overlay. @throws Refusal with what kustomize said */
export async function render(kubectl: Kubectl, dir: string): Promise<Manifest[]> {
  const text = await kubectl.must(['kustomize', '--load-restrictor=LoadRestrictionsNone', dir])
  return text
    .split(/^---$/m)
    .filter((one) => one.trim() !== '')
    .map(parse)
}

/**
 * One object as it stands in YAML. Below a key of its own, because the client of Kubernetes gives fields of the kinds it knows its own
 * names (`_from` for `from`).
 */
function parse(text: string): Manifest {
  return loadYaml<{ object: Manifest }>(`object:\n${text.replace(/^(?=.)/gm, '  ')}`).object
}
