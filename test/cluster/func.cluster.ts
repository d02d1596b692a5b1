import { request } from 'node:http'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { funcService, readFuncYaml } from '../knative/func-service.ts'
import { sweepHeaders } from '../tenancy/callers.ts'
import { figure } from './figure.ts'
import { kubectl, kubectlJson } from './run.ts'
import { newUser } from './user.ts'

/** What `func deploy` makes of func.yaml, with the prebuilt image: all four functions in one process, on a cluster that has nothing else of ours. */
const namespace = `func-${crypto.randomUUID().slice(0, 8)}`
let name: string
let readySeconds: number
let token: string

beforeAll(async () => {
  const { environments, tag, publicUrl } = inject('ground')
  const func = await readFuncYaml()
  const service = funcService(func, { namespace, image: `dev.local/agent-functions:${tag}` })
  ;({ name } = service.metadata)
  const { execute, status, logs, step } = environments
  const [envFrom] = service.spec.template.spec.containers[0]?.envFrom ?? []
  await kubectl(['create', 'namespace', namespace])
  const secret = {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: envFrom?.secretRef.name, namespace },
    stringData: {
      ...step,
      ...logs,
      ...status,
      ...execute,
      // its database role is the only setting that step has of its own
      STEP_SUPABASE_ROLE_TOKEN: step.SUPABASE_ROLE_TOKEN,
      PUBLIC_BASE_URL: publicUrl.replace('localhost', `${name}.${namespace}.localhost`),
    },
  }
  const started = performance.now()
  await kubectl(['apply', '-f', '-'], JSON.stringify(secret))
  await kubectl(['apply', '-f', '-'], JSON.stringify(service))
  await kubectl(['wait', `ksvc/${name}`, '-n', namespace, '--for=condition=Ready', '--timeout=120s'])
  readySeconds = (performance.now() - started) / 1000
  token = (await newUser('func')).token
}, 300_000)
afterAll(async () => {
  await kubectl(['delete', 'namespace', namespace, '--ignore-not-found', '--timeout=120s'])
}, 150_000)

interface Answer {
  status: number
  body: Record<string, unknown>
}

/** By the name that Knative gave it, which this machine's resolver may not know. */
function ask(path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
  const { hostname, port } = new URL(inject('ground').publicUrl)
  const data = body === undefined ? undefined : JSON.stringify(body)
  return new Promise((resolve, reject) => {
    const asking = request(
      {
        hostname,
        port,
        path,
        method: data === undefined ? 'GET' : 'POST',
        headers: {
          host: `${name}.${namespace}.localhost:${port}`,
          authorization: `Bearer ${token}`,
          ...(data === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
      },
      (answer) => {
        let text = ''
        answer.setEncoding('utf8').on('data', (part: string) => {
          text += part
        })
        answer.on('error', reject)
        answer.on('end', () => {
          const isJson = answer.headers['content-type']?.includes('json') ?? false
          const parsed = isJson ? (JSON.parse(text) as Answer['body']) : { text }
          resolve({ status: answer.statusCode ?? 0, body: parsed })
        })
      },
    )
    asking.on('error', reject)
    asking.end(data)
  })
}

test('all four functions answer on one address', async () => {
  expect(await ask('/health')).toMatchObject({ status: 200, body: { service: 'agent-api' } })
  expect(await ask('/ready')).toMatchObject({ status: 200, body: { status: 'ready' } })
  const made = await ask('/agent/execute', { action: 'create', prompt: 'hello' })
  expect(made.status).toBe(201)
  const { run_id } = made.body as { run_id: string }
  expect(await ask('/agent/status', { run_id })).toMatchObject({ status: 200, body: { run: { id: run_id } } })
  expect((await ask(`/agent/logs?run_id=${run_id}`)).status).toBe(200)
  expect((await ask('/agent/runs')).status).toBe(200)
  // step is called by machines alone, each with a signature of its own
  const { sweepSecret } = inject('ground')
  expect((await ask('/agent/step/sweep', {}, sweepHeaders('{}', sweepSecret))).status).toBe(200)
  expect((await ask('/agent/step/sweep', {}, sweepHeaders('{}', `${sweepSecret}x`))).status).toBe(401)
  expect((await ask('/agent/execute', { action: 'stop', run_id })).status).toBe(200)
}, 120_000)

test('nobody is let in without a token, and it goes to zero and comes back', async () => {
  for (const path of ['/agent/runs', '/agent/logs?run_id=x'])
    expect((await ask(path, undefined, { authorization: 'Bearer nobody' })).status).toBe(401)
  const from = performance.now()
  const pods = async () =>
    (await kubectlJson<{ items: unknown[] }>(['get', 'pods', '-n', namespace])).items.length
  expect(await pods()).toBeGreaterThan(0)
  await expect.poll(pods, { timeout: 120_000, interval: 1000 }).toBe(0)
  const zero = performance.now()
  expect((await ask('/agent/runs')).status).toBe(200)
  figure('the function that func deploys', {
    's until ready': readySeconds,
    's to zero': (zero - from) / 1000,
    's of a call from zero': (performance.now() - zero) / 1000,
  })
}, 200_000)
