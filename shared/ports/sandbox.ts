/**
 * A tool job: one isolated execution of one tool call. The runner inside fetches its input from the door with the token and
 * reports back to it (contract/job.ts); the adapter never sees inputs or results.
 */
export interface JobSpec {
  /** Derived from run and step: creating twice adopts the first. DNS label, at most 63 characters. */
  name: string
  runId: string
  stepNumber: number
  /** Base URL of the job routes, without trailing slash, e.g. `http://host/agent/step/job`. */
  doorUrl: string
  /** One-time token of this step's job. Secret. */
  token: string
  /** Wall time after which the job is killed, start and transfer of files included. */
  deadlineSeconds: number
}

export type JobState =
  | { state: 'missing' }
  | {
      state: 'pending'
      /** Why it has not started, in words for a person. */
      reason?: string
      /** Since it was made. */
      waitedSeconds?: number
      /** No waiting makes it start. */
      isHopeless?: boolean
    }
  | { state: 'running' }
  | { state: 'succeeded' | 'failed'; reason: string }

export interface Sandbox {
  /** Idempotent by name. Rejects (AppError `unavailable`) when it is not known whether the job exists. */
  create(job: JobSpec): Promise<'created' | 'exists'>
  inspect(name: string): Promise<JobState>
  /**
   * Stops the job with its whole process tree and forgets it; a missing job is fine. Its runner may still report that it was lost,
   * but no result.
   */
  remove(name: string): Promise<void>
}
