import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readProcess } from './processes.ts'
import { FakeDoor } from './testing/fake-door.ts'
import { assertNothingLeft, runTo, startRunner, workingVariants } from './testing/start-runner.ts'

const { variants } = await workingVariants()
const confined = variants.filter((variant) => variant.confinement !== 'none')
const door = new FakeDoor()
const server = createServer((_request, response) => response.end('reached'))
let secretDirectory = ''

beforeAll(async () => {
  await door.listen()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  secretDirectory = await mkdtemp(join(tmpdir(), 'secret-'))
  await writeFile(join(secretDirectory, 'secret.txt'), 'host secret', { mode: 0o644 })
})
afterAll(async () => {
  await door.close()
  server.close()
  await rm(secretDirectory, { recursive: true, force: true })
})

if (confined.length === 0) test.skip('this machine offers no confinement', () => undefined)

/** What does not depend on the way of confinement runs in the best one and, with TEST_FULL=1, in all. */
const full = process.env.TEST_FULL === '1'

describe.each(confined)('a tool in $confinement (ordinary user: $asUser)', (variant) => {
  const once = full || variant === confined[0] ? test : () => undefined
  test('does not get out', async () => {
    const port = (server.address() as AddressInfo).port
    const repository = new URL('../..', import.meta.url).pathname
    const places = [
      userInfo().homedir,
      '/root',
      '/home',
      '/etc/shadow',
      '/etc/hostname',
      '/var',
      '/run/dbus',
      '/sys',
      repository,
      secretDirectory,
    ]
    const program = `
      import fs from 'node:fs'; import net from 'node:net'; import os from 'node:os'
      import { execSync, spawnSync } from 'node:child_process'
      const seen = {}
      const tryTo = (name, work) => { try { seen[name] = work() ?? 'done' } catch (error) { seen[name] = error.code ?? 'failed' } }
      const connect = (options) => new Promise((resolve) => {
        const socket = net.connect(options, () => resolve('connected')); socket.on('error', (error) => resolve(error.code))
        setTimeout(() => resolve('silent'), 1000)
      })
      seen.loopback = await connect({ port: ${port}, host: '127.0.0.1' })
      seen.metadata = await connect({ port: 80, host: '169.254.169.254' })
      for (const path of ${JSON.stringify(places)}) tryTo('read ' + path, () => fs.statSync(path).isDirectory() ? fs.readdirSync(path) : fs.readFileSync(path, 'utf8'))
      for (const path of ['/usr/bin/x', '/etc/passwd', '/x', '/run/tool/program/x', '/run/tool/bin/node', '/proc/sys/kernel/core_pattern', '/proc/sysrq-trigger'])
        tryTo('write ' + path, () => fs.writeFileSync(path, 'x', { flag: 'a' }))
      seen.processes = fs.readdirSync('/proc').filter((name) => /^\\d+$/.test(name)).length
      tryTo('kill runner', () => process.kill(${process.pid}, 0))
      tryTo('environ of 1', () => fs.readFileSync('/proc/1/environ', 'utf8').includes('CANARY') || 'EACCES')
      tryTo('root of 1', () => fs.readdirSync('/proc/1/root').includes('home') || 'EACCES')
      try { process.kill(1, 9) } catch {}
      seen.caps = /CapEff:\\s*(\\w+)/.exec(fs.readFileSync('/proc/self/status', 'utf8'))[1] + /CapBnd:\\s*(\\w+)/.exec(fs.readFileSync('/proc/self/status', 'utf8'))[1]
      seen.privileges = /NoNewPrivs:\\s*(\\d)/.exec(fs.readFileSync('/proc/self/status', 'utf8'))[1]
      seen.userNamespace = spawnSync('unshare', ['-U', 'true']).status === 0
      seen.mount = spawnSync('mount', ['-t', 'tmpfs', 'x', '/tmp']).status === 0
      seen.chroot = spawnSync('chroot', ['/', 'true']).status === 0
      seen.uid = process.getuid()
      seen.groups = process.getgroups().length
      seen.descriptors = fs.readdirSync('/proc/self/fd').map((fd) => { try { return fs.readlinkSync('/proc/self/fd/' + fd) } catch { return '' } }).filter((target) => target.startsWith('socket:'))
      seen.mounts = fs.readFileSync('/proc/self/mountinfo', 'utf8').split('\\n').map((line) => line.split(' ')[4]).filter((path) => /^.(home|root|var|old)/.test(path ?? ''))
      console.log(JSON.stringify(seen))`
    const result = await runTo(
      door,
      door.add({ name: 'code', input: { language: 'javascript', code: program } }),
      variant,
    )
    expect(result.stderr).toBe('')
    const { uid, processes, caps, userNamespace, ...seen } = JSON.parse(result.stdout) as Record<
      string,
      unknown
    >
    expect(uid).not.toBe(0)
    expect(processes).toBeLessThan(12)
    expect(String(caps)).toMatch(/^0{16}/)
    // Nested user namespaces: refused, except in bubblewrap as root (documented in SECURITY.md).
    if (!(variant.confinement === 'bubblewrap' && process.getuid?.() === 0 && !variant.asUser))
      expect(userNamespace).toBe(false)
    const { loopback, metadata, privileges, mount, chroot, groups, descriptors, mounts, ...paths } = seen
    expect({ loopback, privileges, mount, chroot, descriptors, mounts }).toEqual({
      loopback: 'ECONNREFUSED',
      privileges: '1',
      mount: false,
      chroot: false,
      descriptors: [],
      mounts: [],
    })
    expect(metadata).toMatch(/ENETUNREACH|EHOSTUNREACH/)
    expect(groups).toBeLessThan(3)
    for (const [name, outcome] of Object.entries(paths)) {
      expect(`${name}: ${outcome}`).toMatch(/: (ENOENT|EACCES|EROFS|EPERM|ESRCH|EINVAL|EIO|ETXTBSY)$/)
    }
  })

  once('cannot see the token, the runner or its environment', async () => {
    const job = door.add({
      name: 'shell',
      input: {
        command:
          'cat /proc/*/environ /proc/*/cmdline /proc/*/fd/* 2>/dev/null </dev/null | head -c 1000000 | tr "\\0" "\\n"',
      },
    })
    // Standard output is one of the files: reading it would wait for ever, the timeout ends that.
    job.tool.input.timeout = 2
    const result = await runTo(door, job, variant)
    expect(result.stdout).not.toContain(job.token)
    expect(result.stdout).not.toContain('runner-environment')
  })

  once('a fork bomb stays in its box and ends', async () => {
    const job = door.add({ name: 'shell', input: { command: 'f() { f | f & }; f; sleep 20', timeout: 2 } })
    const result = await runTo(door, job, variant)
    expect(['timeout', 'killed', 'exited']).toContain(result.outcome.kind)
    expect(result.duration_ms).toBeLessThan(15_000)
  })

  once('writes below /tmp stay inside and are bounded', async () => {
    const name = `escape-${process.pid}-${Math.random()}`
    const command = `echo x > /tmp/${name}; head -c 30000000 /dev/zero > /tmp/a; head -c 30000000 /dev/zero > /tmp/b; head -c 30000000 /dev/zero > /tmp/c; du -sb /tmp | cut -f1`
    const result = await runTo(door, door.add({ name: 'shell', input: { command } }), variant)
    expect(existsSync(join('/tmp', name))).toBe(false)
    expect(Number(result.stdout)).toBeLessThan(18_000_000)
  })
})

describe.each(variants)('a runner in $confinement (ordinary user: $asUser)', (variant) => {
  test('that is killed takes its tool with it', async () => {
    const marker = 300_000 + Math.floor(Math.random() * 600_000)
    const command = `sleep ${marker} & setsid sleep ${marker} & echo up; sleep ${marker}`
    const job = door.add({ name: 'shell', input: { command } }, { watched: true })
    const runner = await startRunner(door, job, variant)
    await expect.poll(() => job.outputs.flat().length, { timeout: 15_000 }).toBeGreaterThan(0)
    expect((await sleepers(marker)).length).toBeGreaterThanOrEqual(3)
    runner.child.kill('SIGKILL')
    await runner.ended
    if (variant.confinement === 'none') {
      // Nothing but the daemon can find these: they are not confined (see dev/jobs/runner-process.ts).
      for (const pid of await sleepers(marker)) process.kill(pid, 'SIGKILL')
    }
    await expect.poll(() => sleepers(marker), { timeout: 5000 }).toEqual([])
    await rm(runner.workRoot, { recursive: true, force: true })
  })

  test('that loses its starter stops by itself, and on SIGTERM says so', async () => {
    const quiet = door.add({ name: 'shell', input: { command: 'echo up; sleep 100' } }, { watched: true })
    const first = await startRunner(door, quiet, variant)
    await expect.poll(() => quiet.outputs.flat().length, { timeout: 15_000 }).toBeGreaterThan(0)
    first.child.stdin?.end()
    expect((await first.ended).code).toBe(1)
    await assertNothingLeft(first.workRoot)
    expect(quiet.results).toEqual([])

    const told = door.add({ name: 'shell', input: { command: 'echo up; sleep 100' } }, { watched: true })
    const second = await startRunner(door, told, variant)
    await expect.poll(() => told.outputs.flat().length, { timeout: 15_000 }).toBeGreaterThan(0)
    second.child.kill('SIGTERM')
    expect((await second.ended).code).toBe(0)
    await assertNothingLeft(second.workRoot)
    expect(told.results[0]?.outcome).toEqual({
      kind: 'lost',
      reason: "the tool's runner was stopped (SIGTERM)",
    })
  })
})

async function sleepers(marker: number): Promise<number[]> {
  const { listProcesses } = await import('./processes.ts')
  const found: number[] = []
  for (const { pid, zombie } of await listProcesses()) {
    const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
    if (!zombie && line === `sleep\0${marker}\0` && (await readProcess(pid))) found.push(pid)
  }
  return found
}
