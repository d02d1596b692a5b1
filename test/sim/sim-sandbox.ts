import type { JobResultRequest } from '../../shared/contract/job.ts'
import { AppError } from '../../shared/core/errors.ts'
import { finishJob } from '../../shared/engine/finish-job.ts'
import { blobReceipt, sha256Hex } from '../../shared/engine/job-token.ts'
import type { StepDeps } from '../../shared/engine/step-deps.ts'
import type { JobSpec, JobState, Sandbox } from '../../shared/ports/sandbox.ts'
import { callPort, type Surroundings } from './call-port.ts'
import type { Process } from './kernel.ts'

interface Job {
  spec: JobSpec
  state: JobState
  removed: boolean
  /** Removed, but not at once: its runner still reports. */
  lingers: boolean
}

/** Whoever calls the door, for a job. */
interface Reporter {
  spec: Pick<JobSpec, 'name' | 'runId' | 'stepNumber'>
}

/** How often a runner repeats a call to the door that was not answered. */
const CALLS = 6

/** Kubernetes and the runners in it: jobs that never start, die, hang, end twice, and callbacks that are lost, repeated or forged. */
export class SimSandbox {
  readonly #around: Surroundings
  readonly #jobs = new Map<string, Job>()
  readonly #doorOf: (process: Process) => StepDeps
  readonly #awaited: (spec: JobSpec) => boolean
  made = 0

  constructor(
    around: Surroundings,
    doorOf: (process: Process) => StepDeps,
    /** Whether the store has the wait for this job: only then may it be made. */
    awaited: (spec: JobSpec) => boolean,
  ) {
    this.#around = around
    this.#doorOf = doorOf
    this.#awaited = awaited
  }

  for(process: Process): Sandbox {
    const faults = { rejected: 'sandbox.rejected', doneButTimeout: 'sandbox.done_but_timeout' } as const
    return {
      create: (spec) => callPort(this.#around, process, 'sandbox.create', () => this.#create(spec), faults),
      inspect: (name) =>
        callPort(
          this.#around,
          process,
          'sandbox.inspect',
          () => this.#jobs.get(name)?.state ?? { state: 'missing' as const },
          {
            rejected: 'sandbox.rejected',
          },
        ),
      remove: (name) =>
        callPort(
          this.#around,
          process,
          'sandbox.remove',
          () => {
            const job = this.#jobs.get(name)
            if (job === undefined) return
            job.removed = true
            job.lingers = !this.#around.faults.stopped && this.#around.random.chance(0.5)
            this.#jobs.delete(name)
          },
          faults,
        ),
    }
  }

  #create(spec: JobSpec): 'created' | 'exists' {
    const { kernel, random, faults, broken } = this.#around
    if (!this.#awaited(spec)) broken('a job is made after its wait is stored', spec.name)
    if (this.#jobs.has(spec.name)) return 'exists'
    this.made += 1
    const job: Job = { spec, state: { state: 'pending' }, removed: false, lingers: false }
    this.#jobs.set(spec.name, job)
    kernel.after(spec.deadlineSeconds * 1000, () => {
      if (job.state.state === 'pending' || job.state.state === 'running')
        job.state = { state: 'failed', reason: 'DeadlineExceeded' }
    })
    if (faults.strikes('job.never_starts')) return 'created'
    const pods = faults.strikes('job.two_pods') ? 2 : 1
    for (let pod = 0; pod < pods; pod++)
      kernel.after(random.between(50, 3000), () => void this.#runner(job, pod))
    return 'created'
  }

  /** One pod. Whatever it does, it does over the door. */
  async #runner(job: Job, pod: number): Promise<void> {
    const { random, faults } = this.#around
    if (this.#stopped(job)) return
    job.state = { state: 'running' }
    const { runId, stepNumber, token } = job.spec
    const ids = { run_id: runId, step_number: stepNumber, token_sha256: sha256Hex(token) }
    const started = await this.#ask(job, (deps) => deps.store.startJob(ids))
    if (started === undefined) {
      job.state = { state: 'failed', reason: 'the door refused' }
      return
    }
    if (faults.strikes('job.dies')) {
      job.state = { state: 'failed', reason: 'OOMKilled' }
      return
    }
    if (faults.strikes('job.hangs')) await this.#sleep(random.between(60_000, 300_000))
    await this.#sleep(random.between(10, random.chance(0.25) ? 100_000 : 8000))
    if (job.lingers) faults.happened('job.after_removal')
    else if (this.#stopped(job)) return
    if (faults.strikes('job.forged')) await this.#forge(job)
    job.state = { state: 'succeeded', reason: 'Completed' }
    if (faults.strikes('job.callback_lost')) return
    const result = await this.#result(job, pod)
    if (result === undefined) return
    await this.#report(job, token, result)
    if (faults.strikes('job.callback_twice')) await this.#report(job, token, result)
    if (faults.strikes('job.other_body'))
      await this.#report(job, token, { ...result, stdout: 'something else' })
  }

  #stopped(job: Job): boolean {
    return job.removed || job.state.state === 'failed'
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.#around.kernel.after(ms, resolve))
  }

  /** Undefined: the door would not take its bytes. */
  async #result(job: Job, pod: number): Promise<JobResultRequest | undefined> {
    const { random } = this.#around
    const content = new TextEncoder().encode(`made ${random.between(0, 5)}`)
    const sha256 = sha256Hex(content)
    const wrote = random.chance(0.3)
    const receipt = wrote ? await this.#store(job, sha256, content) : ''
    if (receipt === undefined) return undefined
    const path = random.pick(['outputs/made.txt', 'work/made.txt'])
    return {
      outcome: { kind: 'exited', exit_code: random.chance(0.85) ? 0 : 1 },
      stdout: `pod ${pod}`,
      stderr: '',
      truncated: false,
      duration_ms: 5,
      files: {
        put: wrote ? [{ path, sha256, size: content.length, mode: 0o644, receipt }] : [],
        removed: [],
      },
    }
  }

  /** As functions/step/job-routes.ts takes bytes: kept from removal first, then stored, then signed for. */
  #store(job: Job, sha256: string, bytes: Uint8Array): Promise<string | undefined> {
    const { runId, stepNumber, token } = job.spec
    return this.#ask(job, async ({ store, blobs, settings }) => {
      const ids = { run_id: runId, step_number: stepNumber, token_sha256: sha256Hex(token) }
      const { user_id } = await store.checkJob({ ...ids, sha256, storing: true })
      await blobs.put(user_id, sha256, bytes)
      return blobReceipt(settings.secret, { runId, stepNumber }, sha256, bytes.length)
    })
  }

  /** A right callback for a step that does not wait for it yet: from a pod that was thought to be gone. */
  async early(runId: string, stepNumber: number, token: string): Promise<void> {
    const spec = { name: `early ${runId}-${stepNumber}`, runId, stepNumber, token }
    await this.#report({ spec }, token, {
      outcome: { kind: 'exited', exit_code: 0 },
      stdout: 'early',
      stderr: '',
      truncated: false,
      duration_ms: 1,
      files: { put: [], removed: [] },
    })
  }

  async #report(job: Reporter, token: string, result: JobResultRequest): Promise<void> {
    const { runId, stepNumber } = job.spec
    await this.#ask(job, (deps) =>
      finishJob(deps, { runId, stepNumber }, token, JSON.stringify(result), result),
    )
  }

  async #forge(job: Job): Promise<void> {
    await this.#report(job, 'a token that was never given out', {
      outcome: { kind: 'exited', exit_code: 0 },
      stdout: 'forged',
      stderr: '',
      truncated: false,
      duration_ms: 1,
      files: { put: [], removed: [] },
    })
  }

  /** A call to the door, each time by an invocation of its own; repeated while nobody says yes or no. Undefined: refused or given up. */
  async #ask<T>(job: Reporter, work: (deps: StepDeps) => Promise<T>): Promise<T | undefined> {
    const { kernel, broken } = this.#around
    for (let call = 0; call < CALLS; call++) {
      const process = kernel.spawn(`door for ${job.spec.name}`)
      const answer = await new Promise<{ value: T } | AppError>((resolve) => {
        process.onDeath = () => resolve(new AppError('unavailable', 'the connection was cut'))
        kernel
          .as(process, () => work(this.#doorOf(process)))
          .then(
            (value) => resolve({ value }),
            (error: unknown) => {
              if (!(error instanceof AppError)) {
                broken('only known errors', error instanceof Error ? (error.stack ?? '') : String(error))
                resolve(new AppError('internal', 'defect'))
              } else resolve(error)
            },
          )
      })
      if ('value' in answer) return answer.value
      if (!['unavailable', 'not_ready'].includes(answer.code)) return undefined
      await this.#sleep(500 * 2 ** call)
    }
    return undefined
  }
}
