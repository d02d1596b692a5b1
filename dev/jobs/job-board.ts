import { join } from 'node:path'
import type { Log } from '../../shared/ports/log.ts'
import type { JobSpec, JobState } from '../../shared/ports/sandbox.ts'
import type { Confinement } from '../../shared/runner/confinement.ts'
import { DoorError } from '../../shared/runner/door.ts'
import type { RunnerJob } from '../../shared/runner/job.ts'
import { reportLost } from '../../shared/runner/run-job.ts'
import { type JobRecord, JobRecords } from './job-record.ts'
import { killLeftRunner, RunnerProcess } from './runner-process.ts'

export interface JobBoardOptions {
  /** Holds the records (with tokens) and the working directories of the jobs. */
  dir: string
  runnerPath: string
  nodePath: string
  confinement: Confinement
  maxJobs: number
  log: Log
  /** Finished jobs are kept so long, for `inspect` and for a second `create`. */
  keepSeconds: number
}

interface Job {
  record: JobRecord
  runner?: RunnerProcess
  deadline?: NodeJS.Timeout
  /** Stops the report of a lost job. */
  report?: AbortController
}

const WAITING_LIMIT = 1000
/** After its deadline a runner may still deliver; then it is killed from outside. */
const DEADLINE_GRACE_SECONDS = 2
/** A lost job is reported so long past its deadline, and after a restart at least so long: the gateway starts meanwhile. */
const REPORT_SECONDS = 60

/** What Kubernetes does for Jobs with backoffLimit 0 and a deadline, for one machine: queue, run once, keep the end for a while. */
export class JobBoard {
  readonly #options: JobBoardOptions
  readonly #records: JobRecords
  readonly #jobs = new Map<string, Job>()
  readonly #underWay = new Set<Promise<void>>()
  readonly #sweeper: NodeJS.Timeout
  #closing: boolean = false

  constructor(options: JobBoardOptions) {
    this.#options = options
    this.#records = new JobRecords(options.dir)
    for (const record of this.#records.load()) this.#adopt(record)
    this.#sweeper = setInterval(() => this.#forgetOld(), Math.min(60_000, options.keepSeconds * 500))
    this.#sweeper.unref()
    this.#pump()
  }

  /** `full`: too many wait already; nothing was recorded. */
  create(spec: JobSpec): 'created' | 'exists' | 'full' {
    if (this.#jobs.has(spec.name)) return 'exists'
    if (this.#closing || this.#count('pending') >= WAITING_LIMIT) return 'full'
    const record: JobRecord = {
      spec,
      created_at: new Date().toISOString(),
      state: 'pending',
      reason: '',
      owes_report: false,
    }
    this.#records.save(record)
    this.#jobs.set(spec.name, { record })
    this.#pump()
    return 'created'
  }

  inspect(name: string): JobState {
    const record = this.#jobs.get(name)?.record
    if (!record) return { state: 'missing' }
    if (record.state === 'pending' || record.state === 'running') return { state: record.state }
    return { state: record.state, reason: record.reason }
  }

  /** Resolves when no process of the job is left. */
  async remove(name: string): Promise<void> {
    const job = this.#jobs.get(name)
    if (!job) return
    // Forgotten first: whatever ends from here on belongs to nobody and reports nothing.
    this.#jobs.delete(name)
    this.#records.remove(name)
    clearTimeout(job.deadline)
    job.report?.abort()
    job.runner?.kill()
    await job.runner?.ended
    this.#pump()
  }

  /** Kills every job; the records stay, so that the next start tells the steps. */
  async close(): Promise<void> {
    this.#closing = true
    clearInterval(this.#sweeper)
    for (const job of this.#jobs.values()) {
      clearTimeout(job.deadline)
      job.report?.abort()
      job.runner?.kill()
    }
    await Promise.all(this.#underWay)
  }

  #count(state: JobRecord['state']): number {
    return this.#jobs.values().reduce((count, job) => count + (job.record.state === state ? 1 : 0), 0)
  }

  #pump(): void {
    for (const [name, job] of this.#jobs) {
      if (this.#closing || this.#count('running') >= this.#options.maxJobs) return
      if (job.record.state === 'pending') this.#track(this.#run(name, job))
    }
  }

  #track(work: Promise<void>): void {
    const { log } = this.#options
    const tracked = work
      .catch((err: unknown) => log.error({ err }, 'a tool job could not be followed'))
      .finally(() => this.#underWay.delete(tracked))
    this.#underWay.add(tracked)
  }

  async #run(name: string, job: Job): Promise<void> {
    const { record } = job
    const { spec } = record
    const { confinement, nodePath, runnerPath, log } = this.#options
    // On disk before the process exists: a crash in between reads as a lost job, never as one to start again.
    this.#save(name, { ...record, state: 'running' })
    const deadline = deadlineOf(record)
    const runnerJob = this.#runnerJob(spec, deadline)
    const runner = new RunnerProcess({ nodePath, runnerPath, job: { ...runnerJob, confinement } })
    job.runner = runner
    let late = false
    job.deadline = setTimeout(
      () => {
        late = true
        runner.kill()
      },
      Math.max(deadline + DEADLINE_GRACE_SECONDS * 1000 - Date.now(), 0),
    )
    const found = await runner.identify()
    if (found && job.record.state === 'running') {
      this.#save(name, { ...job.record, runner: { pid: found.pid, start: found.start } })
    }
    const end = await runner.ended
    clearTimeout(job.deadline)
    if (this.#closing || this.#jobs.get(name) !== job) return
    const reason = late ? `the job exceeded its deadline of ${spec.deadlineSeconds} s` : end.reason
    log.info(
      { run_id: spec.runId, step_number: spec.stepNumber, outcome: end.reported ? 'reported' : 'lost' },
      reason,
    )
    const ended_at = new Date().toISOString()
    const state = end.reported ? 'succeeded' : 'failed'
    this.#save(name, { ...job.record, state, reason, owes_report: !end.reported, ended_at })
    this.#pump()
    if (!end.reported) await this.#report(name, job)
  }

  #save(name: string, record: JobRecord): void {
    const job = this.#jobs.get(name)
    if (!job) return
    job.record = record
    this.#records.save(record)
  }

  #adopt(record: JobRecord): void {
    const { name } = record.spec
    const job: Job = { record }
    this.#jobs.set(name, job)
    if (record.state === 'running') {
      const reason = 'the tool service stopped while the tool was running'
      this.#save(name, {
        ...record,
        state: 'failed',
        reason,
        owes_report: true,
        ended_at: new Date().toISOString(),
      })
      this.#track(killLeftRunner(record.runner, this.#workRoot(name)).then(() => this.#report(name, job)))
    } else if (record.owes_report) this.#track(this.#report(name, job))
  }

  async #report(name: string, job: Job): Promise<void> {
    const { spec, reason } = job.record
    const until = Math.max(deadlineOf(job.record), Date.now()) + REPORT_SECONDS * 1000
    const abort = new AbortController()
    job.report = abort
    if (this.#closing || this.#jobs.get(name) !== job) return
    try {
      await reportLost(this.#runnerJob(spec, until), reason, abort.signal)
    } catch (err) {
      if (abort.signal.aborted) return
      // A final answer (409: the step has its result already) ends it as well as success does.
      if (!(err instanceof DoorError)) {
        this.#options.log.warn(
          { run_id: spec.runId, step_number: spec.stepNumber, err },
          'a lost job could not be reported',
        )
      }
    } finally {
      delete job.report
    }
    if (!abort.signal.aborted) this.#save(name, { ...job.record, owes_report: false })
  }

  #forgetOld(): void {
    for (const [name, { record }] of this.#jobs) {
      if (!record.ended_at || record.owes_report) continue
      if (Date.parse(record.ended_at) + this.#options.keepSeconds * 1000 > Date.now()) continue
      this.#jobs.delete(name)
      this.#records.remove(name)
    }
  }

  #workRoot(name: string): string {
    return join(this.#options.dir, 'work', name)
  }

  #runnerJob(spec: JobSpec, deadline: number): RunnerJob {
    return {
      door_url: spec.doorUrl,
      run_id: spec.runId,
      step_number: spec.stepNumber,
      token: spec.token,
      deadline_at: new Date(deadline).toISOString(),
      confinement: this.#options.confinement,
      work_root: this.#workRoot(spec.name),
      lifeline: true,
    }
  }
}

function deadlineOf(record: JobRecord): number {
  return Date.parse(record.created_at) + record.spec.deadlineSeconds * 1000
}
