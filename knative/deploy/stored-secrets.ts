import type { Kubectl } from './kubectl.ts'
import { Refusal } from './refusal.ts'
import {
  FUNCTIONS,
  type FunctionName,
  SECRET_NAMES,
  secretOf,
  secretsByFunction,
  type Values,
} from './secret-table.ts'

interface SecretObject {
  metadata: { name: string }
  data?: Record<string, string>
}

export interface Stored {
  values: Values
  /** Functions that have no Secret. */
  missing: FunctionName[]
  /** Names whose value is not the same in every Secret that holds it. */
  torn: string[]
}

/** Data of the Secrets, decoded; a function without one is not in it. */
export async function readSecretData(
  kubectl: Kubectl,
  namespace: string,
): Promise<Map<string, Record<string, string>>> {
  const { items } = await kubectl.json<{ items: SecretObject[] }>([
    'get',
    'secrets',
    '--namespace',
    namespace,
    '--output',
    'json',
  ])
  const ours = items.filter(({ metadata }) => FUNCTIONS.some((name) => name === metadata.name))
  return new Map(
    ours.map(({ metadata, data = {} }) => [
      metadata.name,
      Object.fromEntries(
        Object.entries(data).map(([key, value]) => [key, Buffer.from(value, 'base64').toString()]),
      ),
    ]),
  )
}

export async function readStored(kubectl: Kubectl, namespace: string): Promise<Stored> {
  const data = await readSecretData(kubectl, namespace)
  const values: Values = {}
  const torn: string[] = []
  for (const name of SECRET_NAMES) {
    const { of, as } = secretOf(name)
    const found = of.map((target) => data.get(target)?.[as ?? name])
    const value = found.find((text) => text !== undefined && text !== '')
    if (value === undefined) continue
    values[name] = value
    if (found.some((text) => text !== value)) torn.push(name)
  }
  return { values, torn, missing: FUNCTIONS.filter((name) => !data.has(name)) }
}

/**
 * Writes the Secret of each function. Server-side: a client-side apply keeps a second copy of all values in an annotation. Nothing
 * happens to a Secret that is as it should be.
 */
export async function writeSecrets(
  kubectl: Kubectl,
  namespace: string,
  values: Values,
): Promise<{ name: FunctionName; changed: boolean }[]> {
  const before = await readSecretData(kubectl, namespace)
  const wanted = [...secretsByFunction(values)].map(([name, data]) => ({
    name,
    data,
    changed: canonical(before.get(name)) !== canonical(data),
  }))
  const items = wanted
    .filter(({ changed }) => changed)
    .map(({ name, data }) => ({
      apiVersion: 'v1',
      kind: 'Secret',
      type: 'Opaque',
      metadata: {
        name,
        namespace,
        labels: {
          'app.kubernetes.io/part-of': 'agent-functions',
          'app.kubernetes.io/managed-by': 'setup-secrets',
        },
      },
      data: Object.fromEntries(
        Object.entries(data).map(([key, value]) => [key, Buffer.from(value).toString('base64')]),
      ),
    }))
  if (items.length > 0) {
    const { code, stderr } = await kubectl.run(
      ['apply', '--server-side', '--force-conflicts', '--field-manager=setup-secrets', '--filename=-'],
      JSON.stringify({ apiVersion: 'v1', kind: 'List', items }),
    )
    // what the API server says of a Secret may hold its bytes
    if (code !== 0)
      throw new Refusal(
        `The Secrets could not be written${/forbidden/i.test(stderr) ? ': this user may not (create, patch secrets)' : ''}.`,
      )
  }
  return wanted.map(({ name, changed }) => ({ name, changed }))
}

export async function ensureNamespace(kubectl: Kubectl, namespace: string): Promise<boolean> {
  const { code } = await kubectl.run(['get', 'namespace', namespace])
  if (code === 0) return false
  await kubectl.must(['create', 'namespace', namespace])
  return true
}

function canonical(data: Record<string, string> | undefined): string {
  return data === undefined
    ? ''
    : JSON.stringify(Object.entries(data).toSorted(([a], [b]) => (a < b ? -1 : 1)))
}
