import { AppError } from '../../shared/core/errors.ts'
import { finishJob } from '../../shared/engine/finish-job.ts'
import { blobReceipt, sha256Hex } from '../../shared/engine/job-token.ts'
import type { StepDeps } from '../../shared/engine/step-deps.ts'
import type { JobSpec } from '../../shared/ports/sandbox.ts'
import { SECRET } from '../engine/harness.ts'
import type { Scenario } from './scenarios.ts'
import type { World } from './world.ts'

/** A runner repeats each call to the door so often. */
const MAX_TRIES = 5

/** Does what the runner of a job does at the door: start, bring files back, report, each repeated until it was answered. */
export async function runJob(world: World, scenario: Scenario, job: JobSpec): Promise<void> {
  world.jobs.delete(job.name)
  world.endedJobs.add(job.name)
  const ids = { run_id: job.runId, step_number: job.stepNumber, token_sha256: sha256Hex(job.token) }
  const started = await atDoor(world, ({ store }) => store.startJob(ids))
  if (started === undefined) return // it is not awaited any more
  world.executed.set(job.name, (world.executed.get(job.name) ?? 0) + 1)
  const put = scenario.jobs === 'file' ? [await bringFile(world, job, ids)] : []
  const result = {
    outcome: { kind: 'exited' as const, exit_code: 0 },
    stdout: `output of step ${job.stepNumber}\n`,
    stderr: '',
    truncated: false,
    duration_ms: 5,
    files: { put, removed: [] },
  }
  await atDoor(world, (deps) => finishJob(deps, job, job.token, JSON.stringify(result), result))
}

/** The route that takes a file: looks whose job it is, stores the bytes, hands out a receipt. */
async function bringFile(
  world: World,
  job: JobSpec,
  ids: { run_id: string; step_number: number; token_sha256: string },
) {
  const bytes = new TextEncoder().encode('a,b\n1,2\n')
  const sha256 = sha256Hex(bytes)
  await atDoor(world, async ({ store, blobs }) => {
    const { user_id } = await store.checkJob(ids)
    await blobs.put(user_id, sha256, bytes)
    return true
  })
  const receipt = blobReceipt(SECRET, job, sha256, bytes.length)
  return { path: 'outputs/table.csv', sha256, size: bytes.length, mode: 0o644, receipt }
}

/** Undefined when the door says that nobody waits for this job. */
async function atDoor<T>(world: World, work: (deps: StepDeps) => Promise<T>): Promise<T | undefined> {
  for (let attempt = 1; attempt <= MAX_TRIES; attempt++) {
    try {
      return await world.asStep(work)
    } catch (error) {
      if (error instanceof AppError && ['already_answered', 'unauthorized'].includes(error.code))
        return undefined
    }
  }
  throw new Error('the door did not answer')
}
