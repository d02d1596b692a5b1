import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createJobs, type Jobs } from '../../../dev/jobs/create-jobs.ts'
import { AppError } from '../../core/errors.ts'
import { type SandboxFixture, sandboxSuite } from '../../ports/sandbox.suite.ts'
import type { JobSpec } from '../../ports/sandbox.ts'
import { detectConfinement } from '../../runner/detect-confinement.ts'
import { type DoorJob, FakeDoor } from '../../runner/testing/fake-door.ts'
import { RUNNER } from '../../runner/testing/start-runner.ts'
import { createLocalSandbox } from './sandbox.ts'

const silent = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent }
const door = new FakeDoor()
const known = new Map<string, DoorJob>()
let jobs: Jobs
let fixture: SandboxFixture
let dir = ''
let url = ''

beforeAll(async () => {
  await door.listen()
  dir = await mkdtemp(join(tmpdir(), 'jobs-test-'))
  const { confinement } = await detectConfinement()
  jobs = createJobs({ dir, token: 'right', runnerPath: RUNNER, confinement, log: silent, maxJobs: 2 })
  url = await jobs.listen()
  fixture = {
    sandbox: createLocalSandbox({ url, token: 'right' }),
    unreachable: createLocalSandbox({ url: 'http://127.0.0.1:1', token: 'right' }),
    job(kind) {
      const command = kind === 'long' ? 'sleep 1000' : 'echo done'
      const made = door.add({ name: 'shell', input: { command } })
      const spec: JobSpec = {
        name: `job-${made.runId}`,
        runId: made.runId,
        stepNumber: made.stepNumber,
        doorUrl: door.url,
        token: kind === 'lost' ? 'wrong' : made.token,
        deadlineSeconds: 30,
      }
      known.set(spec.name, made)
      return spec
    },
    results: (spec) => known.get(spec.name)?.results.length ?? -1,
    starts: (spec) => known.get(spec.name)?.starts ?? -1,
  }
})
afterAll(async () => {
  await jobs.close()
  await door.close()
  await rm(dir, { recursive: true, force: true })
})

sandboxSuite('the local jobs daemon', () => fixture)

test('a wrong token and a bad job are plain errors: trying again does not help', async () => {
  const stranger = createLocalSandbox({ url, token: 'wrong' })
  await expect(stranger.inspect('x')).rejects.toThrow('answered 401')
  await expect(stranger.inspect('x')).rejects.not.toBeInstanceOf(AppError)
  await expect(fixture.sandbox.create({ ...fixture.job('short'), name: '../x' })).rejects.toThrow(
    /400 .*DNS label/,
  )
})

test('a service that is slow, broken or another one is unavailable, never a missing job', async () => {
  let answer = (_path: string): [number, string] => [200, '']
  const server = createServer((request, response) => {
    const [status, body] = answer(request.url ?? '')
    if (status > 0) response.writeHead(status).end(body)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const other = createLocalSandbox({
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    token: 'x',
    timeoutMs: 300,
  })
  for (const given of [
    [404, 'not here'],
    [200, '{}'],
    [500, 'x'],
    [503, 'x'],
    [0, ''],
  ] as [number, string][]) {
    answer = () => given
    await expect(other.inspect('x')).rejects.toMatchObject({ code: 'unavailable' })
  }
  server.closeAllConnections()
  server.close()
})
