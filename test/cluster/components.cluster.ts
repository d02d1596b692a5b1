import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { createRun, untilStatus } from '../system/kit.ts'
import { figure } from './figure.ts'
import { install } from './installation.ts'
import { commandsPrompt } from './model.ts'
import { kubectl, kubectlJson, run } from './run.ts'
import { newUser } from './user.ts'

/** What an overlay may add: the internet for tools by a list of hosts, and the way in without Gateway API. */
const PROXY_PORT = 3128

beforeAll(async () => {
  const { root, tag, tools } = inject('ground')
  const archive = await mkdtemp(join(tmpdir(), 'agent-images-'))
  try {
    const base = process.env['CLUSTER_BASE_IMAGE'] ?? 'dev.local/debian-base:12'
    const only = ['--only', 'egress', '--only', 'router']
    const args = [...only, '--base', base, '--tag', tag, '--archive', archive]
    await run(join(root, 'knative/images/build.sh'), args, { cwd: root })
    await run(join(tools, 'load'), [join(archive, 'egress.tar'), join(archive, 'router.tar')])
  } finally {
    await rm(archive, { recursive: true, force: true })
  }
  await install({}, ['egress', 'router'])
  const { spec } = await kubectlJson<{ spec: { clusterIP: string } }>([
    'get',
    'service',
    'egress',
    '-n',
    'agents-egress',
  ])
  await install({ TOOL_PROXY_URL: `http://${spec.clusterIP}:${PROXY_PORT}` }, ['egress', 'router'])
  // the settings are read at a start
  await kubectl([
    'delete',
    'pods',
    '-n',
    'agents',
    '-l',
    'serving.knative.dev/service=agent-step',
    '--ignore-not-found',
  ])
  await kubectl(['rollout', 'status', 'deployment/egress', '-n', 'agents-egress', '--timeout=120s'])
  await kubectl(['rollout', 'status', 'deployment/agent-router', '-n', 'agents', '--timeout=120s'])
}, 1_500_000)
afterAll(async () => {
  await kubectl(['delete', 'namespace', 'agents-egress', '--ignore-not-found', '--wait=false'])
  await kubectl([
    'delete',
    'deployment,service,networkpolicy,poddisruptionbudget',
    '-n',
    'agents',
    'agent-router',
    '--ignore-not-found',
  ])
  await install()
}, 300_000)

test('a tool reaches listed hosts through the proxy, and nothing else', async () => {
  const user = await newUser('egress')
  // every address goes to the proxy, the pod's own too (NO_PROXY): it is the one that is asked here
  const ask = (url: string) => `curl -s --noproxy '' -m 15 -o /dev/null -w '%{http_connect} ' ${url}`
  const direct = (url: string) =>
    `curl -s --noproxy '*' -m 4 -o /dev/null ${url} && echo reached || echo nothing`
  const refused = [
    'https://example.com',
    'https://169.254.169.254',
    'https://10.92.0.1',
    'https://[::1]',
    'https://pypi.org:8443',
    'https://0x7f000001',
  ]
  const id = await createRun(user, {
    prompt: commandsPrompt([
      refused.map(ask).join('; '),
      ask('https://pypi.org'),
      [direct('https://10.92.0.1'), direct('https://1.1.1.1')].join('; '),
    ]),
  })
  const { steps } = await untilStatus(user, id, 'completed', 300_000)
  const said = steps
    .filter(({ tool_name }) => tool_name === 'shell')
    .map(({ tool_output }) => (tool_output as { stdout: string }).stdout.trim())
  figure('egress', {
    'not listed, private, other ports': said[0] ?? '',
    listed: said[1] ?? '',
    'without the proxy': (said[2] ?? '').replaceAll('\n', ' '),
  })
  expect(said[0]?.split(' ')).toEqual(refused.map(() => '403'))
  // let through by the rules; a cluster without internet ends it at the lookup, which Squid answers with 500 or 503
  expect(said[1]).toMatch(/^(200|500|503)$/)
  expect(said[2]).toBe('nothing\nnothing')
}, 400_000)

test('the router leads each path to its function, and the job routes nowhere', async () => {
  const forward = spawn('kubectl', ['port-forward', '-n', 'agents', 'service/agent-router', ':80'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  try {
    const [line] = (await once(forward.stdout, 'data')) as [Buffer]
    const base = `http://127.0.0.1:${/127\.0\.0\.1:(\d+)/.exec(line.toString())?.[1]}`
    const post = (path: string) =>
      fetch(`${base}${path}`, { method: 'POST', body: '{}', headers: { 'content-type': 'application/json' } })
    const statuses: Record<string, number> = {}
    for (const path of [
      '/functions/v1/agent-execute',
      '/functions/v1/agent-status',
      '/agent/logs',
      '/agent/step',
      '/agent/step/job/x/1/start',
      '/elsewhere',
    ])
      statuses[path] = (await post(path)).status
    figure('router', statuses)
    expect(statuses).toEqual({
      '/functions/v1/agent-execute': 401,
      '/functions/v1/agent-status': 401,
      '/agent/logs': 405,
      '/agent/step': 401,
      '/agent/step/job/x/1/start': 404,
      '/elsewhere': 404,
    })
  } finally {
    forward.kill()
  }
}, 180_000)
