import type { Artifacts, Blobs } from '../ports/blobs.ts'
import type { Cache } from '../ports/cache.ts'
import type { Log } from '../ports/log.ts'
import type { Model } from '../ports/model.ts'
import type { Sandbox } from '../ports/sandbox.ts'
import type { Scheduler } from '../ports/scheduler.ts'
import type { JobStore, StepStore, StoredObject } from '../ports/store.ts'

/** What the step use cases work with. Everything that touches the world is in here. */
export interface StepDeps {
  store: StepStore
  scheduler: Scheduler
  cache: Cache
  model: Model
  sandbox: Sandbox
  blobs: Blobs
  artifacts: Artifacts
  /** Absent: what is to be removed from Storage is left to a service that can. */
  objects?: {
    /** Answers which are gone, those that were not there included. */
    remove(objects: readonly StoredObject[]): Promise<StoredObject[]>
    confirm(objects: StoredObject[]): Promise<void>
  }
  /** Tells the database how long ended runs are kept, where a setting says so. */
  retention?: () => Promise<void>
  log: Log
  /** Random UUIDs. */
  newId: () => string
  /** ISO date of today, for prompts. */
  today: () => string
  settings: StepSettings
}

/** Of these what the routes of a running job need: no model, no sandbox, no claims. */
export type DoorDeps = Pick<StepDeps, 'scheduler' | 'cache' | 'blobs' | 'artifacts'> & {
  store: JobStore
  settings: Pick<StepSettings, 'jobDeadlineSeconds' | 'secret'>
}

export interface StepSettings {
  leaseSeconds: number
  /** How long one invocation may go on with further steps of its run; absent: one step an invocation. */
  burst?: { steps: number; ms: number }
  /** Tool calls that may be out at once, of one run and of all runs of a tenant; absent: no limit. */
  parallelCalls?: { run: number; tenant: number }
  /** Wall time of one step; exceeding it counts as an attempt. */
  stepDeadlineSeconds: number
  /** Tools whose calls are carried out only with their user's yes. */
  approvalTools: ReadonlySet<string>
  /** Wall time of one tool job, transfer of files included. */
  jobDeadlineSeconds: number
  /** A job that has not started by then is given up. */
  jobStartSeconds: number
  maxTokens: number
  maxFileBytes: number
  /** Base URL of the job routes that runners call. */
  doorUrl: string
  /** Key that job tokens and blob receipts are derived from. */
  secret: string
}
