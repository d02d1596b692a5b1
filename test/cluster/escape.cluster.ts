import { afterAll, beforeAll, expect, test } from 'vitest'
import type { JobLimits, JobResultRequest } from '../../shared/contract/job.ts'
import type { JobSpec } from '../../shared/ports/sandbox.ts'
import type { DoorJob } from '../../shared/runner/testing/fake-door.ts'
import { figure, HOST, SandboxWorld, until } from './sandbox-world.ts'

/** What a hostile tool tries in its pod. Each must fail, and the job must end with an outcome that says what happened. */
const world = new SandboxWorld()
const sandbox = world.sandbox()
const MIB = 1024 * 1024
/** As the deployed service has them (core/limits.ts), but for time. */
const LIMITS = {
  timeout_seconds: 60,
  memory_bytes: 1024 * MIB,
  workspace_bytes: 1024 * MIB,
  workspace_files: 10_000,
}
beforeAll(async () => {
  await world.open()
})
afterAll(async () => {
  await world.close()
})

async function attack(
  name: string,
  input: { command: string } | { language: string; code: string },
  limits: Partial<JobLimits> = {},
): Promise<{ result: JobResultRequest; made: DoorJob; spec: JobSpec }> {
  const tool = { name: 'code' in input ? 'code' : 'shell', input }
  const made = world.door.add(tool, { limits: { ...LIMITS, ...limits } })
  const spec = world.spec(made)
  const started = Date.now()
  await sandbox.create(spec)
  const results = await until(
    async () => (made.results.length > 0 ? made.results : undefined),
    `the result of ${name}`,
    110,
  )
  const [result] = results
  if (result === undefined) throw new Error('no result')
  const state = await until(async () => {
    const found = await sandbox.inspect(spec.name)
    return found.state === 'succeeded' || found.state === 'failed' ? found : undefined
  }, `the end of ${name}`)
  figure(
    `${name}: ${JSON.stringify(result.outcome)}, tool ${result.duration_ms} ms, job ${Date.now() - started} ms, ${state.state}`,
  )
  await sandbox.remove(spec.name)
  expect(JSON.stringify(result)).not.toContain(made.token)
  for (const bytes of made.uploaded.values()) expect(bytes.includes(made.token)).toBe(false)
  return { result, made, spec }
}

test('reaches no address but the door, which does not know it: metadata, API server, Postgres, other pods, the internet, DNS', async () => {
  const other = world.door.add({ name: 'shell', input: { command: 'sleep 1000' } })
  const neighbour = world.spec(other)
  await sandbox.create(neighbour)
  const pod = await world.pod(neighbour.name, ({ status }) => status?.podIP !== undefined)
  const kubernetes = await world.core.readNamespacedService({ name: 'kubernetes', namespace: 'default' })
  const dns = await world.core.listServiceForAllNamespaces({ labelSelector: 'k8s-app=kube-dns' })
  const targets: [string, string, number][] = [
    ['metadata', '169.254.169.254', 80],
    ['API server', kubernetes.spec?.clusterIP ?? '', 443],
    ['kubelet', HOST, 10250],
    ['Postgres', HOST, 5432],
    ['another pod', pod.status?.podIP ?? '', 8080],
    ['DNS over TCP', dns.items[0]?.spec?.clusterIP ?? '10.92.0.10', 53],
    ['internet', '1.1.1.1', 443],
  ]
  const door = new URL(world.doorUrl)
  const code = `
    import net from 'node:net'; import dns from 'node:dns/promises'; import dgram from 'node:dgram'
    const tryTo = (host, port) => new Promise((resolve) => {
      const socket = net.connect({ host, port }, () => { socket.destroy(); resolve('CONNECTED') })
      socket.on('error', (error) => resolve(error.code)); setTimeout(() => { socket.destroy(); resolve('silent') }, 3000)
    })
    const seen = {}
    await Promise.all(${JSON.stringify(targets)}.map(async ([name, host, port]) => { seen[name] = await tryTo(host, port) }))
    const names = new dns.Resolver({ timeout: 1000, tries: 1 })
    for (const server of [null, ${JSON.stringify(dns.items[0]?.spec?.clusterIP ?? '10.92.0.10')}, '8.8.8.8']) {
      if (server) names.setServers([server])
      seen['name at ' + server] = await names.resolve4('kubernetes.default.svc.cluster.local').catch((error) => error.code)
    }
    seen.lookup = await dns.lookup('secret.example.com').catch((error) => error.code)
    seen.door = (await fetch(${JSON.stringify(`${door.href}/${other.runId}/${other.stepNumber}/start`)}, { method: 'POST', body: '{}' })).status
    console.log(JSON.stringify(seen))`
  const { result } = await attack('network', { language: 'javascript', code })
  await sandbox.remove(neighbour.name)
  const seen = JSON.parse(result.stdout) as Record<string, unknown>
  figure(JSON.stringify(seen))
  expect(seen['door']).toBe(401)
  for (const [name] of targets) expect([name, seen[name]]).not.toEqual([name, 'CONNECTED'])
  const named = Object.entries(seen).filter(([name]) => name.startsWith('name at') || name === 'lookup')
  for (const [name, found] of named) expect([name, typeof found]).toEqual([name, 'string'])
  expect(result.outcome).toEqual({ kind: 'exited', exit_code: 0 })
})

test('finds no token: environment, /proc, files, mounts, sockets, service account', async () => {
  const command = `
    cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'; cat /proc/[0-9]*/cmdline | tr '\\0' ' '; echo
    env; cat /run/tool/* /run/tool/*/* /tmp/* /workspace/* 2>/dev/null; ls -laR /run /var/run/secrets 2>&1
    echo "processes: $(ls -d /proc/[0-9]* | wc -l)"
    echo "first: $(tr '\\0' ' ' < /proc/1/cmdline)"
    dd if=/proc/1/mem bs=1 count=1 2>&1 | head -1
    test -e /var/run/secrets/kubernetes.io && echo ACC''OUNT
    touch /opt/agent-functions/x /x /usr/x 2>&1 | head -3; id; grep -E 'Cap(Eff|Bnd|Prm)|NoNewPrivs|Seccomp:' /proc/self/status
    unshare -r true 2>&1; mount -t tmpfs none /mnt 2>&1; ln -s /proc/1/environ outputs/e; true`
  const { result } = await attack('token', { command })
  expect(result.stdout).not.toMatch(/ACCOUNT|RUNNER_JOB|runner\.mjs/)
  expect(result.stdout).toMatch(/CapPrm:\s+0+\n/)
  expect(result.stdout).toMatch(/CapEff:\s+0+\n/)
  expect(result.stdout).toMatch(/CapBnd:\s+0+\n/)
  expect(result.stdout).toMatch(/NoNewPrivs:\s+1\n/)
  expect(result.stdout).toMatch(/Seccomp:\s+2\n/)
  expect(result.stdout).toMatch(/Read-only file system/)
  // The link in the outputs.
  expect(result.outcome).toMatchObject({ kind: 'refused', reason: expect.stringMatching(/symbolic link/) })
})

test('a process that is left behind to swap folders while files are read gets nothing from the runner', async () => {
  // The executor kills it; one that took the executor over goes on, which shared/runner/pod.test.ts tries.
  const code = `
    import { execSync, spawn } from 'node:child_process'
    import fs from 'node:fs'
    fs.mkdirSync('outputs/d'); for (let i = 0; i < 400; i++) fs.writeFileSync('outputs/d/environ' + i, 'mine')
    fs.writeFileSync('outputs/d/environ', 'mine')
    spawn('bash', ['-c', 'cd outputs; while :; do mv -T d e; ln -s /proc/self d; rm -f d; mv -T e d; done 2>/dev/null'], { detached: true, stdio: 'ignore' }).unref()
    await new Promise((resolve) => setTimeout(resolve, 1000))`
  const { result, made } = await attack('symlink swap', { language: 'javascript', code })
  for (const bytes of made.uploaded.values()) expect(bytes.toString()).toBe('mine')
  expect(['exited', 'refused', 'lost']).toContain(result.outcome.kind)
})

test('a fork bomb is held by the number of its user’s processes, and ends', async () => {
  const { result } = await attack(
    'fork bomb',
    { command: 'b() { b | b & }; b; sleep 5; echo alive' },
    { timeout_seconds: 12 },
  )
  expect(['exited', 'killed', 'timeout']).toContain(result.outcome.kind)
})

test('filling /tmp fails at its size; filling the workspace ends the tool', async () => {
  const { result: temporary } = await attack('fill /tmp', {
    command: 'for i in $(seq 60); do head -c 7M /dev/zero > /tmp/f$i || break; done; echo "file $i"',
  })
  expect(temporary.stderr).toContain('No space left')
  // 256 MiB hold 36 files of 7 MiB.
  expect(temporary.stdout).toContain('file 37')
  const { result: workspace } = await attack(
    'fill the workspace',
    { command: 'for i in $(seq 400); do head -c 7M /dev/zero > outputs/f$i || exit 9; done; sleep 30' },
    { workspace_bytes: 200 * MIB },
  )
  expect(workspace.outcome).toMatchObject({
    kind: 'refused',
    reason: expect.stringContaining('bytes allowed'),
  })
})

test('a flood of output is cut and stopped', async () => {
  const { result } = await attack('output flood', { command: 'yes' })
  expect(result.outcome).toEqual({ kind: 'output_limit' })
  expect(result.stdout.length).toBeLessThan(70_000)
})

test('killing everything it can see ends the tool alone', async () => {
  const { result } = await attack('kill all', { command: 'kill -9 1; kill -STOP 1; kill -9 -1; echo still' })
  expect(['exited', 'killed', 'out_of_memory']).toContain(result.outcome.kind)
})
