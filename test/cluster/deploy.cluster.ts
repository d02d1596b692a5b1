import { spawn } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startPostgres } from '../../dev/postgres/start-postgres.ts'
import { type Stack, startStack } from '../../dev/stack.ts'
import { createKubectl, runCommand } from '../../knative/deploy/kubectl.ts'
import { FUNCTIONS } from '../../knative/deploy/secret-table.ts'
import { writeSecrets } from '../../knative/deploy/stored-secrets.ts'

/**
 * `./deploy.sh` and `./undeploy.sh` on a cluster that has nothing of ours: in namespaces and under a host name of its own, so that an
 * installation that is there is left alone. The local stack is Supabase, Redis and QStash.
 */
const root = resolve(import.meta.dirname, '../..')
const cluster = process.env.CLUSTER_TOOLS ?? resolve(root, '../shared/cluster')
const NODE = '10.90.0.1'
const GATEWAY_PORT = Number(process.env.CLUSTER_INGRESS_PORT ?? 8080)
const HOST = 'deploy.localhost'
const namespace = 'dep-agents'
const sandbox = 'dep-agents-sandbox'
const kubectl = createKubectl()
let dir: string
let overlay: string
let stack: Stack
let front: Server

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'deploy-'))
  await removeNamespaces()
  stack = await startStack({ root, dir: join(dir, 'stack'), port: 0, settings: {}, fsync: false })
  front = await nameTheGateway()
  const port = new URL(stack.origin).port
  const model = new URL(stack.environments.step.ANTHROPIC_BASE_URL ?? '').port
  for (const one of [port, model]) expect((await runCommand(join(cluster, 'expose'), [one])).code).toBe(0)
  overlay = copyOverlay({ port, model })
  const { env, environments, supabase } = stack
  const inCluster = (text: string) => text.replaceAll(`localhost:${port}`, `${NODE}:${port}`)
  const [issuer] = JSON.parse(environments.execute.TRUSTED_ISSUERS ?? '[]') as [Record<string, string>]
  await kubectl.must(['create', 'namespace', namespace])
  await writeSecrets(kubectl, namespace, {
    SUPABASE_ANON_KEY: env.SUPABASE_ANON_KEY,
    SUPABASE_ROLE_TOKEN: await supabase.mintRoleToken({ role: 'agent_api' }),
    STEP_SUPABASE_ROLE_TOKEN: await supabase.mintRoleToken({ role: 'agent_step' }),
    DOOR_SUPABASE_ROLE_TOKEN: await supabase.mintRoleToken({ role: 'agent_door' }),
    TRUSTED_ISSUERS: JSON.stringify([
      {
        ...issuer,
        jwks_url: inCluster(issuer.jwks_url ?? ''),
        project_url: inCluster(issuer.project_url ?? ''),
      },
    ]),
    UPSTASH_REDIS_REST_TOKEN: env.UPSTASH_REDIS_REST_TOKEN,
    QSTASH_TOKEN: env.QSTASH_TOKEN,
    QSTASH_CURRENT_SIGNING_KEY: env.QSTASH_CURRENT_SIGNING_KEY,
    QSTASH_NEXT_SIGNING_KEY: env.QSTASH_NEXT_SIGNING_KEY,
    ANTHROPIC_API_KEY: 'scripted',
    AGENT_SECRET: 'a'.repeat(40),
    SWEEP_SECRET: 's'.repeat(40),
  })
}, 300_000)

afterAll(async () => {
  await removeNamespaces()
  front?.close()
  front?.closeAllConnections()
  await stack?.close()
  await startPostgres({ dir: join(dir, 'stack/postgres') }).then((postgres) => postgres.remove())
  rmSync(dir, { recursive: true, force: true })
}, 300_000)

async function removeNamespaces(): Promise<void> {
  await kubectl.run(['delete', 'namespace', namespace, sandbox, '--ignore-not-found', '--wait'])
  await kubectl.run([
    'delete',
    'referencegrant',
    '--all-namespaces',
    '--selector',
    `agent-functions/deployed-by=${namespace}`,
  ])
}

/** The overlay for a test cluster with our names in place of the fixed ones, and this stack's ports. */
function copyOverlay({ port, model }: { port: string; model: string }): string {
  const copy = join(dir, 'knative')
  for (const part of ['base', 'components', 'overlays/test'])
    cpSync(join(root, 'knative', part), join(copy, part), { recursive: true })
  const files = readdirSync(copy, { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.yaml'),
  )
  for (const file of files) {
    const text = readFileSync(join(copy, file), 'utf8')
    const renamed = text
      .replace(/(?<![\w-])agents-sandbox(?![\w-])/g, sandbox)
      .replace(/(?<![\w-])agents(?![\w-])/g, namespace)
      .replace(/^( +host: )localhost$/m, `$1${HOST}`)
      // what is proved is the deployment: it should find room beside whatever else a small node runs
      .replace(/(requests: \{ cpu: )\d+m/g, '$11m')
      .replace(/(cpu-resource-request: )\d+m/g, '$11m')
    writeFileSync(join(copy, file), renamed)
  }
  const settings = join(copy, 'overlays/test/settings.yaml')
  const values: Record<string, string> = {
    PUBLIC_BASE_URL: `http://localhost:${(front.address() as AddressInfo).port}`,
    SUPABASE_URL: `http://${NODE}:${port}`,
    UPSTASH_REDIS_REST_URL: `http://${NODE}:${port}/redis`,
    QSTASH_URL: `http://${NODE}:${port}/qstash`,
    ANTHROPIC_BASE_URL: `http://${NODE}:${model}`,
  }
  const text = readFileSync(settings, 'utf8').replace(
    /^( +)([A-Z_]+): .*$/gm,
    (line, indent: string, name: string) =>
      values[name] === undefined ? line : `${indent}${name}: ${values[name]}`,
  )
  writeFileSync(settings, text)
  return join(copy, 'overlays/test')
}

/** What a name does: `localhost:PORT` is the gateway under our host. */
function nameTheGateway(): Promise<Server> {
  const server = createServer((incoming, outgoing) => {
    const onward = request(
      {
        host: '127.0.0.1',
        port: GATEWAY_PORT,
        path: incoming.url,
        method: incoming.method,
        headers: { ...incoming.headers, host: HOST },
      },
      (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.rawHeaders)
        answer.pipe(outgoing)
      },
    )
    onward.on('error', () => outgoing.destroy())
    outgoing.on('close', () => onward.destroy())
    incoming.pipe(onward)
  })
  return new Promise((done) => server.listen(0, '127.0.0.1', () => done(server)))
}

const delivery =
  process.env.CLUSTER_IMAGE !== undefined && process.env.CLUSTER_TOOL_IMAGE !== undefined
    ? ['--image', process.env.CLUSTER_IMAGE, '--tool-image', process.env.CLUSTER_TOOL_IMAGE]
    : [
        '--deliver',
        'load',
        '--load-command',
        join(cluster, 'load'),
        '--base',
        process.env.CLUSTER_BASE ?? 'dev.local/debian-base:12',
      ]

interface Run {
  code: number
  output: string
  seconds: number
}

function script(name: string, args: string[], env: Record<string, string> = {}): Promise<Run> {
  const started = performance.now()
  const child = spawn(join(root, name), ['--overlay', overlay, ...args], {
    env: { ...process.env, MIGRATION_DATABASE_URL: stack.env.DATABASE_URL, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      output += chunk
    })
  return new Promise((done) =>
    child.on('close', (code) =>
      done({ code: code ?? 1, output, seconds: (performance.now() - started) / 1000 }),
    ),
  )
}

// the whole suite, with runs to their end, is another test's: here it matters that deploy.sh runs it and heeds what it says
const contract = () => [
  '--',
  '--sign-up',
  '--no-runs',
  '--supabase-url',
  stack.origin,
  '--only',
  'every door',
]
const deploy = (...args: string[]) => script('deploy.sh', [...delivery, ...args])

async function serving(): Promise<Record<string, string>> {
  const { items } = await kubectl.json<{
    items: { metadata: { name: string }; status: { traffic: { revisionName: string }[] } }[]
  }>(['get', 'services.serving.knative.dev', '--namespace', namespace, '--output', 'json'])
  return Object.fromEntries(
    items.map(({ metadata, status }) => [
      metadata.name,
      status.traffic.map((one) => one.revisionName).join(),
    ]),
  )
}

async function revisions(): Promise<string[]> {
  const { stdout } = await kubectl.run([
    'get',
    'revisions.serving.knative.dev',
    '--namespace',
    namespace,
    '--output=name',
  ])
  return stdout.split('\n').filter((name) => name !== '')
}

describe('deploy.sh', () => {
  test('says every problem at once and changes nothing', async () => {
    const { code, output } = await script(
      'deploy.sh',
      ['--deliver', 'push', '--registry', 'registry.invalid/us'],
      {
        MIGRATION_DATABASE_URL: '',
      },
    )
    expect(code).toBe(1)
    expect(output).toContain('3 problems, nothing was changed')
    expect(output).toContain('registry.invalid')
    expect(output).toContain('MIGRATION_DATABASE_URL is missing')
    expect(output).toContain('The contract suite needs two users')
    expect(await revisions()).toEqual([])
  }, 120_000)

  let first: Record<string, string>

  test('deploys on an empty cluster and holds it to the contract', async () => {
    const { code, output, seconds } = await deploy(...contract())
    expect(code, output.slice(-4000)).toBe(0)
    first = await serving()
    expect(Object.keys(first).toSorted((a, b) => (a < b ? -1 : 1))).toEqual(
      [...FUNCTIONS].toSorted((a, b) => (a < b ? -1 : 1)),
    )
    console.log(`first deployment with images and contract suite: ${seconds.toFixed(0)} s`)
  }, 900_000)

  test('again changes nothing', async () => {
    const before = await revisions()
    const { code, output, seconds } = await deploy('--skip-contract')
    expect(code, output).toBe(0)
    expect(output).toContain('Nothing changed')
    expect(await revisions()).toEqual(before)
    expect(await serving()).toEqual(first)
    expect((await deploy('--dry-run')).output).toContain('Nothing would change')
    console.log(`second deployment: ${seconds.toFixed(0)} s, 0 new revisions`)
  }, 600_000)

  test('a changed secret makes new revisions of the functions that hold it, and --rollback goes back', async () => {
    await changeSecret('agent-step', 'SWEEP_SECRET', 't'.repeat(40))
    const { code, output } = await deploy('--skip-contract')
    expect(code, output).toBe(0)
    const second = await serving()
    const changed = FUNCTIONS.filter((name) => second[name] !== first[name])
    expect(changed).toEqual(['agent-step'])
    const back = await script('deploy.sh', ['--rollback'])
    expect(back.code, back.output).toBe(0)
    expect(await serving()).toEqual(first)
    expect((await script('deploy.sh', ['--rollback'])).output).toContain('There is no good release before')
    expect((await deploy('--skip-contract')).code).toBe(0)
    expect(await serving()).toEqual(second)
    console.log(`rollback: ${back.seconds.toFixed(1)} s`)
  }, 900_000)

  test('a release that does not become ready leaves requests with the last good one', async () => {
    const good = await serving()
    await changeSecret('agent-status', 'SUPABASE_ROLE_TOKEN', stack.env.SUPABASE_SERVICE_ROLE_KEY)
    const { code, output } = await deploy('--skip-contract', '--timeout', '40')
    expect(code).toBe(1)
    expect(output).toContain('Requests go to the last good release')
    expect(await serving()).toEqual(good)
    expect(output).not.toContain(stack.env.SUPABASE_SERVICE_ROLE_KEY)
  }, 600_000)
})

describe('undeploy.sh', () => {
  test('asks first', async () => {
    const { code, output } = await script('undeploy.sh', [])
    expect(code).toBe(1)
    expect(output).toContain('give --yes')
    expect(Object.keys(await serving())).toHaveLength(FUNCTIONS.length)
  }, 120_000)

  test('removes what was made and nothing else', async () => {
    await kubectl.must(['create', 'configmap', 'somebody-elses', '--namespace', namespace])
    const { code, output, seconds } = await script('undeploy.sh', ['--yes', '--with-secrets'])
    expect(code, output).toBe(0)
    const left = await kubectl.must([
      'get',
      'all,configmaps,secrets,networkpolicies,httproutes',
      '--namespace',
      namespace,
      '--output=name',
    ])
    const ours = left.split('\n').filter((name) => name !== '' && !/kube-root-ca/.test(name))
    expect(ours).toEqual(['configmap/somebody-elses'])
    expect((await kubectl.run(['get', 'namespace', sandbox])).code).not.toBe(0)
    expect((await kubectl.run(['get', 'namespace', 'ingress'])).code).toBe(0)
    console.log(`undeploy: ${seconds.toFixed(0)} s`)
  }, 600_000)
})

async function changeSecret(name: string, key: string, value: string): Promise<void> {
  const secret = {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name, namespace },
    data: { [key]: Buffer.from(value).toString('base64') },
  }
  await kubectl.must(
    ['apply', '--server-side', '--force-conflicts', '--field-manager=test', '--filename=-'],
    JSON.stringify(secret),
  )
}
