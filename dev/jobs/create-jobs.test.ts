import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { detectConfinement } from '../../shared/runner/detect-confinement.ts'
import { isAlive, listStrays, listTree } from '../../shared/runner/processes.ts'
import { type DoorJob, FakeDoor } from '../../shared/runner/testing/fake-door.ts'
import { RUNNER } from '../../shared/runner/testing/start-runner.ts'
import { createJobs, type Jobs, type JobsOptions } from './create-jobs.ts'
import type { JobRecord } from './job-record.ts'

const silent = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent }
const { confinement } = await detectConfinement()
let door = new FakeDoor()
let dir = ''
const open: Jobs[] = []

beforeEach(async () => {
  door = new FakeDoor()
  await door.listen()
  dir = await mkdtemp(join(tmpdir(), 'jobs-test-'))
})
afterEach(async () => {
  for (const jobs of open.splice(0)) await jobs.close()
  expect(await listStrays(dir)).toEqual([])
  expect(door.faults).toEqual([])
  await door.close()
  await rm(dir, { recursive: true, force: true })
})

function start(options: Partial<JobsOptions> = {}): Jobs {
  const jobs = createJobs({ dir, token: 't', runnerPath: RUNNER, confinement, log: silent, ...options })
  open.push(jobs)
  return jobs
}

async function create(jobs: Jobs, job: DoorJob, changes: Record<string, unknown> = {}): Promise<Response> {
  const spec = {
    name: `job-${job.runId}`,
    runId: job.runId,
    stepNumber: job.stepNumber,
    doorUrl: door.url,
    token: job.token,
    deadlineSeconds: 30,
    ...changes,
  }
  return await jobs.app.request('/jobs', {
    method: 'POST',
    headers: { authorization: 'Bearer t', 'content-type': 'application/json' },
    body: JSON.stringify(spec),
  })
}

async function inspect(jobs: Jobs, job: DoorJob): Promise<{ state: string; reason?: string }> {
  const response = await jobs.app.request(`/jobs/job-${job.runId}`, {
    headers: { authorization: 'Bearer t' },
  })
  return (await response.json()) as { state: string; reason?: string }
}

async function record(job: DoorJob): Promise<JobRecord> {
  return JSON.parse(await readFile(join(dir, 'records', `job-${job.runId}.json`), 'utf8')) as JobRecord
}

/** A job whose tool runs and has said so. */
async function running(jobs: Jobs, changes: Record<string, unknown> = {}): Promise<DoorJob> {
  const job = door.add(
    { name: 'shell', input: { command: 'echo up; setsid sleep 1000 & sleep 1000' } },
    { watched: true },
  )
  expect((await create(jobs, job, changes)).status).toBe(201)
  await expect.poll(() => job.outputs.flat().length, { timeout: 20_000 }).toBeGreaterThan(0)
  return job
}

test('401 without the secret, 400 with a sentence for a bad job, 413 for a huge one', async () => {
  const jobs = start()
  expect((await jobs.app.request('/jobs/x')).status).toBe(401)
  const job = door.add({ name: 'shell', input: { command: 'true' } })
  const bad = await create(jobs, job, { name: 'Not_A_Label', deadlineSeconds: -1, extra: 1 })
  expect(bad.status).toBe(400)
  expect(await bad.text()).toMatch(/DNS label/)
  expect((await create(jobs, job, { token: 'x'.repeat(100_000) })).status).toBe(413)
  expect(await readdir(join(dir, 'records'))).toEqual([])
})

test('records are readable by their owner only and go when the job is removed', async () => {
  const jobs = start()
  const job = await running(jobs)
  expect((await stat(join(dir, 'records', `job-${job.runId}.json`))).mode & 0o777).toBe(0o600)
  const { runner } = await record(job)
  const tree = await listTree(runner?.pid ?? 0)
  expect(tree.length).toBeGreaterThan(2)
  const response = await jobs.app.request(`/jobs/job-${job.runId}`, {
    method: 'DELETE',
    headers: { authorization: 'Bearer t' },
  })
  expect(response.status).toBe(204)
  for (const found of tree) expect(await isAlive(found)).toBe(false)
  expect(await readdir(join(dir, 'records'))).toEqual([])
  expect(await readdir(join(dir, 'work'))).toEqual([])
  expect(job.results).toEqual([])
})

test('more than maxJobs wait their turn', async () => {
  const jobs = start({ maxJobs: 1 })
  const first = await running(jobs)
  const second = door.add({ name: 'shell', input: { command: 'echo second' } })
  await create(jobs, second)
  expect(await inspect(jobs, second)).toEqual({ state: 'pending' })
  await jobs.app.request(`/jobs/job-${first.runId}`, {
    method: 'DELETE',
    headers: { authorization: 'Bearer t' },
  })
  await expect.poll(() => second.results[0]?.stdout, { timeout: 20_000 }).toBe('second\n')
})

test('a runner that is killed is reported as lost, though the door is away at first', async () => {
  const jobs = start()
  const job = await running(jobs)
  let refused = 0
  door.intercept = (_request, response, path) => {
    if (path !== 'result' || refused >= 2) return false
    refused += 1
    response.writeHead(503, { 'retry-after': '1' }).end('{}')
    return true
  }
  const tree = await listTree((await record(job)).runner?.pid ?? 0)
  process.kill(tree[0]?.pid ?? 0, 'SIGKILL')
  await expect
    .poll(() => job.results[0]?.outcome, { timeout: 20_000 })
    .toEqual({
      kind: 'lost',
      reason: "the tool's runner was killed (SIGKILL)",
    })
  for (const found of tree) expect(await isAlive(found)).toBe(false)
  expect(refused).toBe(2)
  await expect.poll(async () => (await record(job)).owes_report).toBe(false)
  expect(await inspect(jobs, job)).toEqual({
    state: 'failed',
    reason: "the tool's runner was killed (SIGKILL)",
  })
})

test('a tool that is killed is reported by its runner', async () => {
  const jobs = start()
  const job = await running(jobs)
  const tree = await listTree((await record(job)).runner?.pid ?? 0)
  const bash: number[] = []
  for (const { pid } of tree) {
    if ((await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).includes('bash\0')) bash.push(pid)
  }
  // The last one: those before it are the sandbox's own wrappers, which name the program in their arguments.
  process.kill(bash.at(-1) ?? 0, 'SIGKILL')
  await expect
    .poll(() => job.results[0]?.outcome, { timeout: 20_000 })
    .toEqual({ kind: 'killed', signal: 'SIGKILL' })
})

test('a runner past its deadline is killed from outside', async () => {
  const jobs = start()
  const job = await running(jobs, { deadlineSeconds: 4 })
  const { runner } = await record(job)
  process.kill(runner?.pid ?? 0, 'SIGSTOP')
  await expect
    .poll(() => job.results[0]?.outcome, { timeout: 20_000 })
    .toEqual({
      kind: 'lost',
      reason: 'the job exceeded its deadline of 4 s',
    })
})

test('after a stop, the next start reports what was running and runs what waited', async () => {
  const first = start({ maxJobs: 1 })
  const job = await running(first)
  const waiting = door.add({ name: 'shell', input: { command: 'echo later' } })
  await create(first, waiting)
  const tree = await listTree((await record(job)).runner?.pid ?? 0)
  await first.close()
  for (const found of tree) expect(await isAlive(found)).toBe(false)
  expect(job.results).toEqual([])
  start()
  await expect
    .poll(() => job.results[0]?.outcome, { timeout: 20_000 })
    .toEqual({
      kind: 'lost',
      reason: 'the tool service stopped while the tool was running',
    })
  await expect.poll(() => waiting.results[0]?.stdout, { timeout: 20_000 }).toBe('later\n')
})

test('a daemon that is killed leaves nothing running, and the next one reports', async () => {
  const program = `
    import { createJobs } from ${JSON.stringify(new URL('create-jobs.ts', import.meta.url).href)}
    const silent = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent }
    const jobs = createJobs({ dir: ${JSON.stringify(dir)}, token: 't', runnerPath: ${JSON.stringify(RUNNER)}, confinement: ${JSON.stringify(confinement)}, log: silent })
    console.log(await jobs.listen())`
  await writeFile(join(dir, 'daemon.ts'), program)
  const daemon = spawn(process.execPath, [join(dir, 'daemon.ts')], { stdio: ['ignore', 'pipe', 'inherit'] })
  const url = await firstLine(daemon)
  const remote = {
    app: { request: async (path: string, init: RequestInit) => await fetch(url + path, init) },
  } as unknown as Jobs
  const job = await running(remote)
  const tree = await listTree((await record(job)).runner?.pid ?? 0)
  daemon.kill('SIGKILL')
  await expect
    .poll(async () => (await Promise.all(tree.map(isAlive))).includes(true), { timeout: 10_000 })
    .toBe(false)
  start()
  await expect.poll(() => job.results[0]?.outcome.kind, { timeout: 20_000 }).toBe('lost')
})

test('finished jobs are kept for a while and then forgotten', async () => {
  const jobs = start({ keepSeconds: 1 })
  const job = door.add({ name: 'shell', input: { command: 'true' } })
  await create(jobs, job)
  await expect.poll(async () => (await inspect(jobs, job)).state, { timeout: 20_000 }).toBe('succeeded')
  expect((await create(jobs, job)).status).toBe(200)
  await expect.poll(async () => (await inspect(jobs, job)).state, { timeout: 10_000 }).toBe('missing')
})

async function firstLine(child: ChildProcess): Promise<string> {
  return await new Promise((resolve, reject) => {
    child.stdout?.once('data', (text: Buffer) => resolve(text.toString().trim()))
    child.once('exit', () => reject(new Error('the daemon ended')))
  })
}
