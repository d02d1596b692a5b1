import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import * as z from 'zod'
import { functionRoutes } from '../../dev/function-routes.ts'
import { hasKubectl, knative, render } from './rendered.ts'

const route = z.looseObject({
  spec: z.looseObject({
    hostnames: z.array(z.string()),
    rules: z.array(
      z.looseObject({
        matches: z.array(
          z.object({ path: z.object({ type: z.enum(['Exact', 'PathPrefix']), value: z.string() }) }),
        ),
        filters: z.array(z.looseObject({ urlRewrite: z.object({ hostname: z.string() }).optional() })),
        backendRefs: z.array(z.object({ name: z.string(), namespace: z.string(), port: z.number() })),
      }),
    ),
  }),
})

/** Paths of the public host, as they may come: of every route an example, what lies beside it, and what is not for the public. */
const examples = Object.entries(functionRoutes).flatMap(([target, paths]) =>
  paths.map((path) => {
    const example = path.replace('/**', target === 'step' ? '/sweep' : '/a').replaceAll('*', '3f2a')
    return { example, target }
  }),
)
const others = [
  ['/agent/step', 'step'],
  ['/agent/step/failure', 'step'],
  ['/docs', 'status'],
  ['/agent/execute/', 'execute'],
  ['/agent/step/job', null],
  ['/agent/step/job/3f2a/1/start', null],
  ['/agent/step/', null],
  ['/agent/execute-other', null],
  ['/agent/executes', null],
  ['/functions/v1/agent-step', null],
  ['/', null],
] as const
const all = [...examples.map(({ example, target }) => [example, target] as const), ...others]

/** Gateway API: an exact path first, else the longest prefix of whole elements. */
function pick(rules: z.infer<typeof route>['spec']['rules'], path: string): string | null {
  let best = { length: -1, host: null as string | null }
  for (const { matches, filters } of rules) {
    const host = filters.find((one) => one.urlRewrite !== undefined)?.urlRewrite?.hostname ?? null
    for (const { path: match } of matches) {
      if (match.type === 'Exact' && match.value === path) return host
      const fits = path === match.value || path.startsWith(`${match.value}/`)
      if (match.type === 'PathPrefix' && fits && match.value.length > best.length)
        best = { length: match.value.length, host }
    }
  }
  return best.host
}
const hostOf = (target: string | null) =>
  target === null ? null : `agent-${target}.agents.svc.cluster.local`

describe.skipIf(!hasKubectl)('HTTPRoute', () => {
  test.each(['sks', 'test'])(
    '%s: paths are those of the local gateway, without the door of jobs',
    (overlay) => {
      const found = render(overlay).find(
        ({ kind, metadata }) => kind === 'HTTPRoute' && metadata.name === 'agent-functions',
      )
      const { rules } = route.parse(found).spec
      for (const [path, target] of all) expect(pick(rules, path), path).toBe(hostOf(target))
      const gateway = new Set(
        rules.flatMap(({ backendRefs }) => backendRefs.map((one) => JSON.stringify(one))),
      )
      expect(gateway.size).toBe(1)
      const grant = render(overlay).find(({ kind }) => kind === 'ReferenceGrant')
      const backend = rules[0]?.backendRefs[0]
      const home = found?.metadata.namespace
      expect(grant).toMatchObject({
        apiVersion: 'gateway.networking.k8s.io/v1beta1',
        // two installations on one cluster have one each
        metadata: { name: home, namespace: backend?.namespace },
        spec: {
          from: [{ kind: 'HTTPRoute', namespace: home }],
          to: [{ group: '', kind: 'Service', name: backend?.name }],
        },
      })
    },
  )
})

test('the router without Gateway API sends the same paths to the same functions', async () => {
  const text = await readFile(join(knative, 'components/router/nginx.conf'), 'utf8')
  const table = [...text.matchAll(/^ +"~(\S+)" (agent-\w+);$/gm)].map(([, pattern = '', name = '']) => ({
    pattern: new RegExp(pattern),
    name,
  }))
  expect(table.length).toBeGreaterThan(15)
  for (const [path, target] of all) {
    const found = table.find(({ pattern }) => pattern.test(path))?.name ?? null
    expect(found, path).toBe(target === null ? null : `agent-${target}`)
  }
})
