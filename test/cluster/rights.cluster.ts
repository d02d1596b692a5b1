import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AuthorizationV1Api, KubeConfig } from '@kubernetes/client-node'
import { beforeAll, expect, test } from 'vitest'
import { figure } from './figure.ts'
import { install } from './installation.ts'
import { kubectl } from './run.ts'

/** What the step function may ask of Kubernetes, asked and tried with its own token. */
let config: KubeConfig

beforeAll(async () => {
  await install()
  const admin = new KubeConfig()
  admin.loadFromDefault()
  const cluster = admin.getCurrentCluster()
  if (cluster === null) throw new Error('KUBECONFIG names no cluster')
  const token = (await kubectl(['create', 'token', 'agent-step', '-n', 'agents'])).trim()
  config = new KubeConfig()
  config.loadFromClusterAndUser(cluster, { name: 'agent-step', token })
}, 600_000)

const NAMESPACES = ['agents', 'agents-sandbox', 'kube-system', undefined]
const ALLOWED = [
  'agents-sandbox create jobs.batch',
  'agents-sandbox delete jobs.batch',
  'agents-sandbox get jobs.batch',
  'agents-sandbox list pods',
]
/** Whoever is known may ask about itself (system:basic-user). */
const ABOUT_ONESELF = /^(selfsubject\w+\.(authorization|authentication)\.k8s\.io)$/

interface Resource {
  /** As the API has it: `pods`, `pods/exec`. */
  name: string
  group: string
  verbs: string[]
}

async function resources(): Promise<Resource[]> {
  const { groups } = JSON.parse(await kubectl(['get', '--raw', '/apis'])) as {
    groups: { name: string; preferredVersion: { groupVersion: string } }[]
  }
  const paths = [
    { group: '', path: '/api/v1' },
    ...groups.map(({ name, preferredVersion }) => ({
      group: name,
      path: `/apis/${preferredVersion.groupVersion}`,
    })),
  ]
  const lists = await Promise.all(
    paths.map(async ({ group, path }) => {
      const { resources: found } = JSON.parse(await kubectl(['get', '--raw', path])) as {
        resources: Resource[]
      }
      return found.map(({ name, verbs }) => ({ name, verbs, group }))
    }),
  )
  return lists.flat()
}

test('everything but four verbs on jobs and pods is refused to the token of step', async () => {
  const api = config.makeApiClient(AuthorizationV1Api)
  const allowed: string[] = []
  let asked = 0
  for (const { name, group, verbs } of await resources()) {
    const [resource = '', subresource] = name.split('/')
    for (const namespace of NAMESPACES) {
      await Promise.all(
        verbs.map(async (verb) => {
          asked += 1
          const { status } = await api.createSelfSubjectAccessReview({
            body: {
              spec: {
                resourceAttributes: {
                  verb,
                  group,
                  resource,
                  ...(subresource === undefined ? {} : { subresource }),
                  ...(namespace === undefined ? {} : { namespace }),
                },
              },
            },
          })
          const full = group === '' ? name : `${name}.${group}`
          if (status?.allowed && !ABOUT_ONESELF.test(full))
            allowed.push(`${namespace ?? '(all)'} ${verb} ${full}`)
        }),
      )
    }
  }
  figure('rights of step', { 'asked for': asked, allowed: allowed.length, refused: asked - allowed.length })
  expect(new Set(allowed)).toEqual(new Set(ALLOWED))
}, 600_000)

const job = (namespace: string) => ({
  apiVersion: 'batch/v1',
  kind: 'Job',
  metadata: { name: 'x', namespace },
  spec: { template: { spec: { restartPolicy: 'Never', containers: [{ name: 'x', image: 'x' }] } } },
})
const pod = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'x', namespace: 'agents-sandbox' },
  spec: { containers: [{ name: 'x', image: 'x' }] },
}

test('what would give more is refused when it is tried', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'rights-'))
  const file = join(dir, 'kubeconfig')
  try {
    await writeFile(file, config.exportConfig(), { mode: 0o600 })
    const tries: [string[], object?][] = [
      [['get', 'secrets', '-n', 'agents']],
      [['get', 'secrets', '-n', 'agents-sandbox']],
      [['get', 'jobs', '-n', 'agents-sandbox']],
      [['get', 'nodes']],
      [['create', '-f', '-'], pod],
      [['create', '-f', '-'], job('agents')],
      [['create', 'token', 'agent-step', '-n', 'agents']],
    ]
    for (const [args, body] of tries) {
      const asked = kubectl(
        ['--kubeconfig', file, ...args],
        body === undefined ? undefined : JSON.stringify(body),
      )
      await expect(asked, args.join(' ')).rejects.toThrow(/forbidden/i)
    }
    // and the same way in works for what it may do: no pod of a job, but a list
    expect(await kubectl(['--kubeconfig', file, 'get', 'pods', '-n', 'agents-sandbox'])).toBeDefined()
  } finally {
    await rm(dir, { recursive: true })
  }
})
