import { spawnSync } from 'node:child_process'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import * as z from 'zod'
import { funcService, readFuncYaml } from '../knative/func-service.ts'
import { parseYaml, type Resource, renderWith, workloads } from '../knative/rendered.ts'
import { exceptions } from './kube-score-exceptions.ts'

/** Namespaces of our own, so that nothing is taken from an installation on the same cluster. */
const PREFIX = 'man-agents'
const COMPONENTS = ['router', 'egress', 'sweeper-cronjob'] as const
const KUBE_SCORE = 'github.com/zegl/kube-score/cmd/kube-score@v1.20.0'

function run(command: string, args: readonly string[], input = ''): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8', input })
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${error?.message ?? stderr}`)
  return stdout
}
const kubectl = (args: readonly string[], input?: string) => run('kubectl', args, input)

/** All that the overlay can hold, one document each; a gateway's namespace that this cluster has not is one of ours. */
async function everything(overlay: string): Promise<string[]> {
  const text = (await renderWith(overlay, COMPONENTS))
    .replaceAll(/\bagents\b/g, PREFIX)
    .replaceAll('kourier-system', PREFIX)
  return text.split(/^---$/m)
}
const isOf = (kind: string) => (document: string) => new RegExp(`^kind: ${kind}$`, 'm').test(document)
const strict = [
  'apply',
  '--server-side',
  '--dry-run=server',
  '--validate=strict',
  '--force-conflicts',
  '-f',
  '-',
]

describe('manifests', () => {
  beforeAll(async () => {
    // a dry run of what is in a namespace needs the namespace, and Knative's webhook tries a pod with its account
    const documents = await everything('sks')
    const needed = [...documents.filter(isOf('Namespace')), ...documents.filter(isOf('ServiceAccount'))]
    kubectl(['apply', '--server-side', '-f', '-'], needed.join('---\n'))
  })
  afterAll(() => {
    kubectl([
      'delete',
      'namespace',
      PREFIX,
      `${PREFIX}-sandbox`,
      `${PREFIX}-egress`,
      '--ignore-not-found',
      '--wait=false',
    ])
  })

  test.each(['sks', 'test'])(
    '%s with every component passes the strict dry run of the API server',
    async (overlay) => {
      // cert-manager is held to its schema in test/knative
      const documents = (await everything(overlay)).filter((one) => !isOf('Certificate')(one))
      const out = kubectl(strict, documents.join('---\n'))
      expect(out.trim().split('\n')).toHaveLength(documents.length)
      // it is strict: a field that does not exist is refused
      const [role = ''] = documents.filter(isOf('Role'))
      expect(() => kubectl(strict, `${role}\nrulez: []\n`)).toThrow(/rulez/)
      console.log(`${overlay}: ${documents.length} resources pass the strict dry run`)
    },
  )

  test('the service that func deploy makes of func.yaml passes it too', async () => {
    const service = funcService(await readFuncYaml(), {
      namespace: PREFIX,
      image: 'dev.local/agent-functions:test',
    })
    kubectl(strict, JSON.stringify(service))
  })

  test('kube-score has nothing to say that has no reason beside it', async (context) => {
    const program = kubeScore()
    if (program === null) return context.skip('there is neither kube-score nor Go to build it')
    const documents = await everything('sks')
    const more = [...asDeployments(parseYaml(documents.join('---\n'))), tool()].map((one) =>
      JSON.stringify(one),
    )
    const findings = score(program, [...documents, ...more])
    const known = (finding: Finding) =>
      exceptions.some(({ check, of }) => check === finding.check && of.test(finding.object))
    expect(findings.filter((one) => !known(one))).toEqual([])
    // an exception that nothing needs any more goes
    for (const { check, of } of exceptions)
      expect(
        findings.some((one) => one.check === check && of.test(one.object)),
        `${check} ${of}`,
      ).toBe(true)
    console.log(`kube-score: 0 findings, ${exceptions.length} exceptions with reasons`)
  })
})

function kubeScore(): string | null {
  if (spawnSync('kube-score', ['version']).status === 0) return 'kube-score'
  const folder = `${process.env['HOME'] ?? ''}/.cache/kube-score`
  if (spawnSync(`${folder}/kube-score`, ['version']).status === 0) return `${folder}/kube-score`
  const env = { ...process.env, GOBIN: folder }
  if (spawnSync('go', ['install', KUBE_SCORE], { env, timeout: 600_000 }).status !== 0) return null
  return `${folder}/kube-score`
}

interface Finding {
  check: string
  object: string
  comments: string
}
const report = z.array(
  z.object({
    object_name: z.string(),
    checks: z
      .array(
        z.object({
          check: z.object({ id: z.string() }),
          grade: z.number(),
          skipped: z.boolean(),
          comments: z.array(z.object({ path: z.string(), summary: z.string() })).nullable(),
        }),
      )
      .nullable(),
  }),
)
/** Of kube-score: 1 critical, 5 warning, 7 almost, 10 fine. */
const FINE = 10

function score(program: string, documents: readonly string[]): Finding[] {
  const input = documents.join('\n---\n')
  const { stdout } = spawnSync(program, ['score', '--output-format', 'json', '-'], {
    encoding: 'utf8',
    input,
  })
  return report.parse(JSON.parse(stdout)).flatMap(({ object_name, checks }) =>
    (checks ?? [])
      .filter(({ grade, skipped }) => !skipped && grade < FINE)
      .map(({ check, comments }) => ({
        check: check.id,
        object: object_name,
        comments: (comments ?? []).map(({ path, summary }) => `${path} ${summary}`).join('; '),
      })),
  )
}

/** The linter knows nothing of Knative: it sees its services as the Deployments that Knative makes of them, with Knative's labels. */
function asDeployments(resources: readonly Resource[]): unknown[] {
  return workloads(resources)
    .filter(({ kind }) => kind === 'Service')
    .map(({ name, namespace, pod }) => {
      const { containerConcurrency: _, timeoutSeconds: __, responseStartTimeoutSeconds: ___, ...spec } = pod
      const labels = { 'serving.knative.dev/service': name }
      return {
        apiVersion: 'apps/v1',
        kind: 'Deployment',
        metadata: { name: `${name}-deployment`, namespace },
        spec: { selector: { matchLabels: labels }, template: { metadata: { labels }, spec } },
      }
    })
}

/** A pod with the labels of a tool job, for the policies that choose it; its own fields are tested where it is made. */
function tool(): unknown {
  const labels = { 'app.kubernetes.io/name': 'tool', 'app.kubernetes.io/part-of': 'agent-functions' }
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'tool', namespace: `${PREFIX}-sandbox`, labels },
    spec: { containers: [] },
  }
}
