import type { Kubectl } from './kubectl.ts'
import { Refusal } from './refusal.ts'
import type { Screen } from './screen.ts'

interface KnativeService {
  metadata: { name: string; generation: number }
  status?: {
    observedGeneration?: number
    conditions?: { type: string; status: string; reason?: string; message?: string }[]
    traffic?: { revisionName?: string; percent?: number }[]
  }
}

/** Function → revision. */
export type Revisions = Record<string, string>

async function readFunctions(
  kubectl: Kubectl,
  namespace: string,
  names: readonly string[],
): Promise<KnativeService[]> {
  const { items } = await kubectl.json<{ items: KnativeService[] }>([
    'get',
    'services.serving.knative.dev',
    '--namespace',
    namespace,
    '--output',
    'json',
  ])
  return items.filter(({ metadata }) => names.includes(metadata.name))
}

/** Revisions that requests go to now. */
export async function servingRevisions(
  kubectl: Kubectl,
  namespace: string,
  names: readonly string[],
): Promise<Revisions> {
  const found = await readFunctions(kubectl, namespace, names)
  return Object.fromEntries(
    found.flatMap(({ metadata, status }) => {
      const first = status?.traffic?.toSorted((a, b) => (b.percent ?? 0) - (a.percent ?? 0))[0]
      return first?.revisionName === undefined ? [] : [[metadata.name, first.revisionName]]
    }),
  )
}

/** Until every function serves what it was told to. @throws Refusal that says what each of the others waits for */
export async function waitUntilReady(
  kubectl: Kubectl,
  namespace: string,
  names: readonly string[],
  { timeoutSeconds, screen }: { timeoutSeconds: number; screen: Screen },
): Promise<void> {
  const end = performance.now() + timeoutSeconds * 1000
  const told = new Set<string>()
  for (;;) {
    const found = await readFunctions(kubectl, namespace, names)
    const waiting = names.flatMap((name) => {
      const one = found.find(({ metadata }) => metadata.name === name)
      const condition = one?.status?.conditions?.find(({ type }) => type === 'Ready')
      const isReady =
        one !== undefined &&
        one.status?.observedGeneration === one.metadata.generation &&
        condition?.status === 'True'
      if (isReady && !told.has(name)) {
        told.add(name)
        screen.line(`${name} ready`)
      }
      return isReady ? [] : [{ name, why: condition?.message ?? condition?.reason ?? 'not begun' }]
    })
    if (waiting.length === 0) return
    if (performance.now() > end) {
      const said = await Promise.all(waiting.map(({ name }) => lastWords(kubectl, namespace, name)))
      throw new Refusal(
        `Not ready after ${timeoutSeconds} s:\n${waiting.map(({ name, why }, n) => `  ${name}: ${why}${said[n] ?? ''}`).join('\n')}\n  Look at: kubectl get pods,revisions.serving.knative.dev --namespace ${namespace}`,
      )
    }
    await new Promise((resolve) => setTimeout(resolve, 1000))
  }
}

/** A function whose settings are wrong says so and ends: Knative reports that minutes later. */
async function lastWords(kubectl: Kubectl, namespace: string, name: string): Promise<string> {
  const selector = `serving.knative.dev/service=${name}`
  const { stdout } = await kubectl.run([
    'logs',
    '--namespace',
    namespace,
    '--selector',
    selector,
    '--container=function',
    '--tail=5',
  ])
  return stdout
    .trimEnd()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => `\n    ${line.slice(0, 300)}`)
    .join('')
}

/** Sends all requests to these revisions. Within a second or two, as their pods start from zero. */
export async function sendTrafficTo(
  kubectl: Kubectl,
  namespace: string,
  revisions: Revisions,
): Promise<void> {
  for (const [name, revisionName] of Object.entries(revisions)) {
    const patch = JSON.stringify({
      spec: { traffic: [{ revisionName, percent: 100, latestRevision: false }] },
    })
    await kubectl.must(
      [
        'patch',
        'services.serving.knative.dev',
        name,
        '--namespace',
        namespace,
        '--type=merge',
        '--patch',
        patch,
      ],
      patch,
    )
  }
}
