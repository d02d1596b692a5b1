import { createHash } from 'node:crypto'
import type { Manifest } from './render.ts'

/** On everything that deploy.sh makes, and nothing else has it: what undeploy.sh may remove. */
export const RELEASE_LABEL = 'agent-functions/deployed-by'
const CHECKSUM = 'agent-functions/checksum'

export interface Images {
  services: string
  tools: string
}

export interface ReleaseParts {
  /** Undefined: those that the overlay names. */
  images: Images | undefined
  /** Data of each function's Secret. */
  secrets: ReadonlyMap<string, Readonly<Record<string, string>>>
  /** Where tool jobs find the door, unless the overlay says it (door-address.ts). */
  doorAddress?: string | undefined
}

export function isFunction({ apiVersion, kind }: Manifest): boolean {
  return kind === 'Service' && apiVersion.startsWith('serving.knative.dev/')
}

/** Where the services are; everything of one installation carries its name. */
export function namespaceOf(manifests: readonly Manifest[]): string {
  return manifests.find(isFunction)?.metadata.namespace ?? 'default'
}

/**
 * The objects of an overlay as they are applied: the images that were delivered, traffic to the newest revision, the label, and on each
 * function a checksum over its settings and secrets. Pods read those when they start: a change has to make a new revision.
 */
export function toRelease(
  manifests: readonly Manifest[],
  { images, secrets, doorAddress }: ReleaseParts,
): Manifest[] {
  const copies = structuredClone([...manifests])
  const label = namespaceOf(copies)
  const settings = copies.find(
    ({ kind, metadata }) => kind === 'ConfigMap' && metadata.name === 'agent-settings',
  )
  if (images !== undefined && settings?.data !== undefined) settings.data['TOOL_IMAGE'] = images.tools
  if (doorAddress !== undefined && settings?.data !== undefined) settings.data['DOOR_ADDRESS'] ??= doorAddress
  for (const manifest of copies) {
    manifest.metadata.labels = { ...manifest.metadata.labels, [RELEASE_LABEL]: label }
    if (images !== undefined) replaceImages(manifest, images.services)
    if (!isFunction(manifest)) continue
    const spec = manifest.spec as {
      template: { metadata?: { annotations?: Record<string, string> } }
      traffic?: unknown
    }
    spec.traffic = [{ latestRevision: true, percent: 100 }]
    spec.template.metadata ??= {}
    spec.template.metadata.annotations = {
      ...spec.template.metadata.annotations,
      [CHECKSUM]: checksum([settings?.data ?? {}, secrets.get(manifest.metadata.name) ?? {}]),
    }
  }
  return copies
}

/** Wherever a pod is described: `agent-functions` under any name and tag becomes the delivered image. */
function replaceImages(node: unknown, image: string): void {
  if (typeof node !== 'object' || node === null) return
  for (const [key, value] of Object.entries(node)) {
    if (key === 'image' && typeof value === 'string' && /(^|\/)agent-functions(:[^/]+|@.+)?$/.test(value))
      (node as Record<string, unknown>)[key] = image
    else replaceImages(value, image)
  }
}

/** 64 bits over keys of 128 bits and more: they tell that something changed and nothing else. */
function checksum(parts: readonly Readonly<Record<string, string>>[]): string {
  const sorted = parts.map((part) => Object.entries(part).toSorted(([a], [b]) => (a < b ? -1 : 1)))
  return createHash('sha256').update(JSON.stringify(sorted)).digest('hex').slice(0, 16)
}
