import { expect, test } from 'vitest'
import { isSame, releaseBefore } from './history.ts'
import { toRelease } from './release.ts'
import type { Manifest } from './render.ts'

const service = (name: string): Manifest => ({
  apiVersion: 'serving.knative.dev/v1',
  kind: 'Service',
  metadata: { name, namespace: 'agents' },
  spec: {
    template: {
      spec: {
        containers: [{ image: 'dev.local/agent-functions:m1' }, { image: 'docker.io/library/other:1' }],
      },
    },
  },
})
const settings: Manifest = {
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name: 'agent-settings', namespace: 'agents' },
  data: { TOOL_IMAGE: 'dev.local/agent-tools:m1', QSTASH_URL: 'https://qstash.upstash.io' },
}
const images = { services: 'r/agent-functions@sha256:1', tools: 'r/agent-tools@sha256:2' }
const overlay = [settings, service('agent-step'), service('agent-logs')]

function checksums(manifests: readonly Manifest[]): (string | undefined)[] {
  return manifests.slice(1).map(({ spec }) => {
    const { template } = spec as { template: { metadata: { annotations: Record<string, string> } } }
    return template.metadata.annotations['agent-functions/checksum']
  })
}

test('the delivered images are in every pod of ours and in the settings, and in no other', () => {
  const text = JSON.stringify(toRelease(overlay, { images, secrets: new Map() }))
  expect(text).not.toContain(':m1')
  expect(text).toContain('docker.io/library/other:1')
  expect(text.split('r/agent-functions@sha256:1')).toHaveLength(3)
  expect(text).toContain('"TOOL_IMAGE":"r/agent-tools@sha256:2"')
  expect(JSON.stringify(overlay)).toContain(':m1')
})

test('tool jobs are told where the door is, unless the overlay says it', () => {
  const of = (manifests: Manifest[]) =>
    toRelease(manifests, { images, secrets: new Map(), doorAddress: '10.0.0.7' })[0]?.data?.['DOOR_ADDRESS']
  expect(of(overlay)).toBe('10.0.0.7')
  const said = { ...settings, data: { ...settings.data, DOOR_ADDRESS: '10.0.0.8' } }
  expect(of([said, ...overlay.slice(1)])).toBe('10.0.0.8')
})

test('a changed secret changes the function that holds it, changed settings change all, the order of keys none', () => {
  const of = (secrets: [string, Record<string, string>][], manifests = overlay) =>
    checksums(toRelease(manifests, { images, secrets: new Map(secrets) }))
  const [step, logs] = of([['agent-step', { A: '1', B: '2' }]])
  expect(of([['agent-step', { B: '2', A: '1' }]])).toEqual([step, logs])
  const changed = of([['agent-step', { A: '1', B: '3' }]])
  expect(changed[0]).not.toBe(step)
  expect(changed[1]).toBe(logs)
  const elsewhere = {
    ...settings,
    data: { ...settings.data, QSTASH_URL: 'https://qstash-us-east-1.upstash.io' },
  }
  const moved = of([['agent-step', { A: '1', B: '2' }]], [elsewhere, ...overlay.slice(1)])
  expect(moved[0]).not.toBe(step)
  expect(moved[1]).not.toBe(logs)
})

test('back is the good release before the one that serves; the last one, when what serves is none', () => {
  const release = (n: number) => ({ at: `${n}`, revisions: { a: `a-${n}`, b: `b-${n}` } })
  const history = [release(3), release(2), release(1)]
  expect(releaseBefore(history, { b: 'b-3', a: 'a-3' })?.at).toBe('2')
  expect(releaseBefore(history, { a: 'a-2', b: 'b-2' })?.at).toBe('1')
  expect(releaseBefore(history, { a: 'a-1', b: 'b-1' })).toBeUndefined()
  expect(releaseBefore(history, { a: 'a-4', b: 'b-3' })?.at).toBe('3')
  expect(releaseBefore([], { a: 'a-1' })).toBeUndefined()
  expect(isSame({ a: '1' }, { a: '1', b: '2' })).toBe(false)
})
