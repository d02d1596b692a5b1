import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import type { JobOutcome, JobResultRequest, JobStartAnswer } from '../contract/job.ts'
import { collectChanges } from './collect-changes.ts'
import { Door, DoorError } from './door.ts'
import type { Execution } from './execute.ts'
import type { RunnerJob } from './job.ts'
import { REPORT_RESERVE_SECONDS } from './limits.ts'
import { LiveOutput } from './live-output.ts'
import { jobDirectories } from './places.ts'
import { POD_DIRECTORIES } from './pod.ts'
import { Refusal } from './refusal.ts'
import { removeDirectory } from './remove-directory.ts'
import { restoreWorkspace } from './restore-workspace.ts'
import { prepareDirectories, runTool } from './run-tool.ts'
import { checkStart } from './start.ts'

/** `over`: the step has its answer already or was cancelled, so there was nothing to report. */
export type Ending = 'reported' | 'over'

const NO_FILES: JobResultRequest['files'] = { put: [], removed: [] }

/**
 * One tool job from start to result. Rejects when the result could not be delivered by the deadline, or when `stop` ended it;
 * by then no process of the tool is left and the job's directory is gone.
 */
export async function runJob(job: RunnerJob, stop: AbortSignal): Promise<Ending> {
  const door = new Door(job)
  const cancel = new AbortController()
  const signal = AbortSignal.any([stop, cancel.signal])
  let answer: unknown
  try {
    answer = await door.start(signal)
  } catch (error) {
    if (error instanceof DoorError && error.status === 409) return 'over'
    throw error
  }
  let result: JobResultRequest
  const isPod = job.confinement === 'pod'
  const directories = isPod
    ? POD_DIRECTORIES
    : jobDirectories(join(job.work_root, `job-${randomBytes(8).toString('hex')}`))
  try {
    result = await work(job, door, checkStart(answer), directories, cancel, signal)
  } catch (error) {
    result = emptyResult(outcomeOf(error))
  } finally {
    if (!isPod) await removeDirectory(directories.root)
  }
  if (cancel.signal.aborted) return 'over'
  stop.throwIfAborted()
  return await report(door, result, stop)
}

async function work(
  job: RunnerJob,
  door: Door,
  start: JobStartAnswer,
  directories: ReturnType<typeof jobDirectories>,
  cancel: AbortController,
  signal: AbortSignal,
): Promise<JobResultRequest> {
  const { workspace } = directories
  const identity = await prepareDirectories(job.confinement, directories)
  const restored = await restoreWorkspace({ door, workspace, files: start.files, identity, signal })
  const live = new LiveOutput({
    watched: start.watched,
    send: (chunks) => door.output(chunks, signal),
    onCancel: () => cancel.abort(),
  })
  let execution: Execution
  try {
    const leftSeconds = (Date.parse(job.deadline_at) - Date.now()) / 1000
    execution = await runTool({
      confinement: job.confinement,
      directories,
      identity,
      start,
      // A short deadline is shared: at least three quarters of it are the tool's.
      maxSeconds: Math.max(leftSeconds - Math.min(REPORT_RESERVE_SECONDS, leftSeconds / 4), 0.1),
      onOutput: (stream, bytes) => live.add(stream, bytes),
      signal,
    })
  } finally {
    await live.end()
  }
  signal.throwIfAborted()
  const { outcome, stdout, stderr, truncated, durationMs } = execution
  const result = { outcome, stdout, stderr, truncated, duration_ms: durationMs, files: NO_FILES }
  if (outcome.kind === 'refused') return result
  try {
    return {
      ...result,
      files: await collectChanges({ door, workspace, restored, limits: start.limits, signal }),
    }
  } catch (error) {
    const fault = outcomeOf(error)
    if (outcome.kind === 'exited') return { ...result, outcome: fault }
    // How the tool ended says more than what was wrong with its files; both are told.
    const reason = 'reason' in fault ? fault.reason : fault.kind
    return { ...result, stderr: `${stderr}\n[the files of this call were not kept: ${reason}]\n` }
  }
}

async function report(door: Door, result: JobResultRequest, stop: AbortSignal): Promise<Ending> {
  try {
    await door.result(result, stop)
    return 'reported'
  } catch (error) {
    if (!(error instanceof DoorError)) throw error
    if (error.status === 409) return 'over'
    if (error.status !== 400 && error.status !== 413 && error.status !== 422) throw error
    // The door does not take this result and never will: the run is told why instead of waiting for its deadline.
    await door.result(
      emptyResult({ kind: 'refused', reason: clip(`the result was not accepted: ${error.message}`) }),
      stop,
    )
    return 'reported'
  }
}

/** Reports that this runner gives up before its tool ended (the pod is being evicted). */
export async function reportLost(job: RunnerJob, reason: string, signal: AbortSignal): Promise<void> {
  await new Door(job).result(emptyResult({ kind: 'lost', reason }), signal)
}

function emptyResult(outcome: JobOutcome): JobResultRequest {
  return { outcome, stdout: '', stderr: '', truncated: false, duration_ms: 0, files: NO_FILES }
}

function outcomeOf(error: unknown): JobOutcome {
  const message = clip(error instanceof Error ? error.message : String(error))
  return error instanceof Refusal ? { kind: 'refused', reason: message } : { kind: 'lost', reason: message }
}

function clip(text: string): string {
  return text.slice(0, 1900).toWellFormed().replaceAll('\0', '\uFFFD') || 'no reason given'
}
