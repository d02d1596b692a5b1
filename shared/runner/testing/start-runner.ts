import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { chown, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { JobResultRequest } from '../../contract/job.ts'
import type { Confinement } from '../confinement.ts'
import { detectConfinement } from '../detect-confinement.ts'
import type { RunnerJob } from '../job.ts'
import { listStrays } from '../processes.ts'
import type { DoorJob, FakeDoor } from './fake-door.ts'

export const RUNNER = new URL('../main.ts', import.meta.url).pathname
/** nobody: an ordinary user, for tests that run as root. */
const USER = 65_534

export interface Variant {
  confinement: Confinement
  /** Runs the runner as an ordinary user though the test is root. */
  asUser: boolean
}

/** What this machine has, each as the tests' own user and, for root, as an ordinary user too; `none` always works. */
export async function workingVariants(): Promise<{ variants: Variant[]; skipped: string[] }> {
  const variants: Variant[] = []
  const skipped: string[] = []
  for (const confinement of ['bubblewrap', 'namespaces'] as const) {
    const found = await detectConfinement([confinement])
    if (found.confinement === confinement) variants.push({ confinement, asUser: false })
    else skipped.push(found.reason)
  }
  const canBeUser = process.getuid?.() === 0 && isReachable()
  if (process.getuid?.() === 0 && !canBeUser) skipped.push('an ordinary user cannot reach this folder')
  const users = canBeUser ? variants.map(({ confinement }) => ({ confinement, asUser: true })) : []
  return { variants: [...variants, ...users, { confinement: 'none', asUser: false }], skipped }
}

/** A clone below /root cannot be read by anybody else. */
function isReachable(): boolean {
  const look = `accessSync(${JSON.stringify(RUNNER)})`
  const [program = '', ...args] = asUser([process.execPath, '-e', `require('node:fs').${look}`])
  return spawnSync(program, args, { stdio: 'ignore' }).status === 0
}

function asUser(command: readonly string[]): string[] {
  return ['setpriv', `--reuid=${USER}`, `--regid=${USER}`, '--clear-groups', ...command]
}

export interface RunnerHandle {
  child: ChildProcess
  workRoot: string
  ended: Promise<{ code: number | null; signal: NodeJS.Signals | null; stderr: string }>
}

export async function startRunner(
  door: FakeDoor,
  job: DoorJob,
  variant: Variant,
  changes: Partial<RunnerJob> = {},
): Promise<RunnerHandle> {
  const workRoot = await mkdtemp(join(tmpdir(), 'runner-test-'))
  if (variant.asUser) await chown(workRoot, USER, USER)
  const node = [process.execPath, '--disable-warning=ExperimentalWarning', RUNNER]
  const argv = variant.asUser ? asUser(node) : node
  const child = spawn(argv[0] ?? '', argv.slice(1), {
    env: { PATH: process.env.PATH ?? '', CANARY: 'runner-environment' },
    stdio: ['pipe', 'ignore', 'pipe'],
  })
  let stderr = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  const line: RunnerJob = {
    door_url: door.url,
    run_id: job.runId,
    step_number: job.stepNumber,
    token: job.token,
    deadline_at: new Date(Date.now() + 60_000).toISOString(),
    confinement: variant.confinement,
    work_root: workRoot,
    lifeline: true,
    ...changes,
  }
  child.stdin?.write(`${JSON.stringify(line)}\n`)
  const ended = new Promise<{ code: number | null; signal: NodeJS.Signals | null; stderr: string }>(
    (resolve) => {
      child.once('close', (code, signal) => resolve({ code, signal, stderr }))
    },
  )
  return { child, workRoot, ended }
}

/** Runs a job to its end, checks that nothing of it is left, and answers the result that the door got. */
export async function runTo(
  door: FakeDoor,
  job: DoorJob,
  variant: Variant,
  changes: Partial<RunnerJob> = {},
): Promise<JobResultRequest> {
  const runner = await startRunner(door, job, variant, changes)
  const end = await runner.ended
  await assertNothingLeft(runner.workRoot)
  if (end.code !== 0) throw new Error(`the runner ended with ${end.code ?? end.signal}: ${end.stderr}`)
  if (end.stderr.includes(job.token)) throw new Error('the token is in the log')
  if (door.faults.length > 0) throw new Error(`the door saw ${door.faults.join('; ')}`)
  const result = job.results[0]
  if (!result) throw new Error(`no result: ${end.stderr}`)
  return result
}

export async function assertNothingLeft(workRoot: string): Promise<void> {
  const strays = await listStrays(workRoot)
  const files = await readdir(workRoot)
  await rm(workRoot, { recursive: true, force: true })
  if (strays.length > 0) throw new Error(`processes left: ${strays.map((stray) => stray.pid).join(', ')}`)
  if (files.length > 0) throw new Error(`files left: ${files.join(', ')}`)
}
