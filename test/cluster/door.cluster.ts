import { beforeAll, expect, inject, test } from 'vitest'
import { createRun, type User, untilStatus } from '../system/kit.ts'
import { figure } from './figure.ts'
import { gatewayAddress, install } from './installation.ts'
import { commandsPrompt } from './model.ts'
import { kubectlJson } from './run.ts'
import { ASK, quote, readAsked, runShell, toolJobs } from './tool-shell.ts'
import { newUser } from './user.ts'

/** A tool job of the real installation, made by the engine, that tries everything it can reach with what it can find. */
const SECRET = 'the stranger asks for something private'
let user: User
let stranger: User
let gateway: string

beforeAll(async () => {
  await install()
  user = await newUser('door')
  stranger = await newUser('stranger')
  gateway = await gatewayAddress()
}, 600_000)

const encode = (part: unknown) => Buffer.from(JSON.stringify(part)).toString('base64url')

test('every service behind the gateway refuses a tool, with no token and with forged ones', async () => {
  const run = await createRun(stranger, { prompt: commandsPrompt([`echo ${SECRET}`]) })
  const local = (service: string) => `${service}.agents.svc.cluster.local`
  const job = `/agent/step/job/${run}/1`
  const result = { outcome: { kind: 'exited', exit_code: 0 }, stdout: 'forged', stderr: '', truncated: false }
  const whole = { ...result, duration_ms: 1, files: { put: [], removed: [] } }
  const knocks: [host: string, path: string, body?: unknown][] = [
    [local('agent-execute'), '/agent/execute', { action: 'create', prompt: 'x' }],
    [local('agent-execute'), '/agent/execute', { action: 'stop', run_id: run }],
    [local('agent-execute'), '/agent/runs'],
    [local('agent-status'), '/agent/status', { run_id: run }],
    [local('agent-logs'), `/agent/logs?run_id=${run}`],
    [local('agent-logs'), `/agent/run/${run}/stream`],
    [local('agent-logs'), '/agent/stream-ticket', { run_id: run }],
    [local('agent-step'), '/agent/step', { run_id: run, step_number: 1 }],
    [local('agent-step'), '/agent/step/failure', { run_id: run, step_number: 1 }],
    [local('agent-step'), '/agent/step/sweep', {}],
    [local('agent-step'), `${job}/start`, {}],
    [local('agent-door'), `${job}/start`, {}],
    [local('agent-door'), `${job}/output`, { chunks: [] }],
    [local('agent-door'), `${job}/result`, whole],
    [local('agent-door'), `${job}/blob/${'0'.repeat(64)}`],
    [new URL(inject('ground').publicUrl).host, '/agent/runs'],
    ['autoscaler.knative-serving.svc.cluster.local', '/'],
    ['kubernetes.default.svc.cluster.local', '/api'],
  ]
  const claims = {
    sub: stranger.id,
    role: 'authenticated',
    aud: 'authenticated',
    iss: `${inject('ground').origin}/auth/v1`,
  }
  const soon = { ...claims, exp: Math.floor(Date.now() / 1000) + 3600 }
  const forged: [string, string | null][] = [
    ['no token', null],
    ['a token that nobody signed', `${encode({ alg: 'none', typ: 'JWT' })}.${encode(soon)}.`],
    ['a token of another key', `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(soon)}.${'A'.repeat(43)}`],
    ['the public key of the project', inject('ground').anonKey],
  ]
  const names: string[] = []
  const lines = forged.flatMap(([what, token]) => {
    const headers = ['authorization: Bearer ', 'apikey: ', 'upstash-signature: ']
    const config = token === null ? [] : headers.map((header) => `header = "${header}${token}"\n`)
    const calls = knocks.map(([host, path, body]) => {
      const shown = path.replaceAll(run, 'RUN').replace(/0{64}/, 'HASH')
      const name = `${body === undefined ? 'GET' : 'POST'} ${host}${shown} with ${what}`
      names.push(name)
      const data =
        body === undefined ? [] : ['-H', 'content-type: application/json', '-d', JSON.stringify(body)]
      const all = [name, '-K', '/tmp/headers', '-H', `host: ${host}`, ...data, `http://${gateway}${path}`]
      return `ask ${all.map(quote).join(' ')}`
    })
    return [`printf %s ${quote(config.join(''))} > /tmp/headers`, ...calls]
  })
  const { output } = await runShell(user, ASK + lines.join('\n'))
  const asked = readAsked(output)
  expect(asked.map(({ name }) => name)).toEqual(names)
  for (const { name, status, body } of asked) figure(name, { status, body: body.slice(0, 60) })
  for (const { name, status, body } of asked) {
    expect([401, 403, 404, 503], `${name}: ${body}`).toContain(status)
    expect(body).not.toContain(SECRET)
    // an error of ours, or the gateway's own word
    expect(body, name).toMatch(/^(\{.*"error".*|404 page not found\s*|)$/)
  }
  const jobs = asked.filter(({ name }) => name.includes('agent-door.agents'))
  expect(jobs.map(({ status }) => status)).toEqual(jobs.map(() => 401))
  // the stranger's run went its way
  await untilStatus(stranger, run, 'completed', 60_000)
}, 300_000)

test('no address but the gateway’s answers a tool, and no name', async () => {
  const { host, origin, databaseUrl } = inject('ground')
  const pods = await kubectlJson<{ items: Pod[] }>(['get', 'pods', '--all-namespaces'])
  const services = await kubectlJson<{ items: Service[] }>(['get', 'services', '--all-namespaces'])
  const clusterIp = (name: string) =>
    services.items.find(({ metadata }) => metadata.name === name)?.spec.clusterIP ?? ''
  const dns =
    services.items.find(({ spec }) => spec.ports.some(({ port }) => port === 53))?.spec.clusterIP ?? ''
  const targets: [string, string, number][] = [
    ['the gateway, which is allowed', gateway, 80],
    ['metadata', '169.254.169.254', 80],
    ['API server', clusterIp('kubernetes'), 443],
    ['API server on its node', host, 6443],
    ['kubelet', host, 10250],
    ['stack', host, Number(new URL(origin).port)],
    ['Postgres', host, Number(new URL(databaseUrl).port)],
    ['DNS over TCP', dns, 53],
    ['internet', '1.1.1.1', 443],
    ...pods.items
      .filter(
        ({ status }) => status.podIP !== undefined && status.podIP !== host && status.phase === 'Running',
      )
      .flatMap(({ metadata, status }) =>
        [8000, 8002, 8012, 8080, 9090].map((port): [string, string, number] => [
          `pod ${metadata.name}:${port}`,
          status.podIP ?? '',
          port,
        ]),
      ),
  ]
  expect(targets.filter(([, address, port]) => address === '' || !(port > 0))).toEqual([])
  const script = `import json, socket
from concurrent.futures import ThreadPoolExecutor
def knock(target):
    name, host, port = target
    with socket.socket() as s:
        s.settimeout(4)
        try:
            s.connect((host, port))
            return name, 'CONNECTED'
        except OSError as e:
            return name, str(e)
def ask(server):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(4)
        try:
            s.sendto(b'\\x01\\x02\\x01\\x00\\x00\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x0akubernetes\\x07default\\x03svc\\x07cluster\\x05local\\x00\\x00\\x01\\x00\\x01', (server, 53))
            return 'DNS over UDP at ' + server, 'ANSWERED %d bytes' % len(s.recv(512))
        except OSError as e:
            return 'DNS over UDP at ' + server, str(e)
def look(name):
    try:
        return 'name ' + name, 'FOUND ' + socket.getaddrinfo(name, 80)[0][4][0]
    except OSError as e:
        return 'name ' + name, str(e)
with ThreadPoolExecutor(32) as pool:
    seen = [*pool.map(knock, json.loads('''${JSON.stringify(targets)}''')), *pool.map(ask, ['${dns}', '8.8.8.8']),
            *pool.map(look, ['kubernetes.default.svc.cluster.local', 'example.com', 'agent-step.agents.svc.cluster.local'])]
print(json.dumps(seen))`
  const { output } = await runShell(user, `python3 - <<'EOF'\n${script}\nEOF`)
  const seen = JSON.parse(output) as [string, string][]
  for (const [name, how] of seen) figure(name, { how })
  expect(seen).toHaveLength(targets.length + 5)
  expect(seen.filter(([, how]) => /CONNECTED|ANSWERED|FOUND/.test(how))).toEqual([
    ['the gateway, which is allowed', 'CONNECTED'],
  ])
}, 200_000)

test('a tool finds no token and no secret: environment, processes, mounts, files', async () => {
  const { runId, output } = await runShell(
    user,
    `env; tr '\\0' '\\n' < /proc/self/environ
cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'; cat /proc/mounts
find /run /tmp /workspace /dev/shm /etc/hosts /etc/resolv.conf /var/run /root /home -xdev -type f -size -64k -exec cat {} + 2>/dev/null
test -e /var/run/secrets && ls -R /var/run/secrets; echo end of the search`,
  )
  expect(output).toContain('end of the search')
  const jobs = await toolJobs(runId)
  expect(jobs).toHaveLength(1)
  const { environments } = inject('ground')
  const secrets = Object.values(environments).flatMap((values) =>
    Object.entries(values)
      .filter(([name]) => /TOKEN|KEY|SECRET/.test(name))
      .map(([, value]) => value),
  )
  const wanted = [...new Set([...secrets, ...jobs.map(({ token }) => token)])].filter(
    (value) => value.length > 8,
  )
  expect(wanted.length).toBeGreaterThan(5)
  expect(wanted.filter((value) => output.includes(value))).toEqual([])
  expect(output).not.toMatch(/RUNNER_JOB|serviceaccount/)
  figure('searched for secrets in a tool', {
    secrets: wanted.length,
    'characters found': output.length,
    hits: 0,
  })
}, 200_000)

interface Pod {
  metadata: { name: string }
  status: { podIP?: string; phase: string }
}
interface Service {
  metadata: { name: string }
  spec: { clusterIP: string; ports: { port: number }[] }
}
