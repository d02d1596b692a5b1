import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as z from 'zod'

/** As the port's JobSpec (shared/ports/sandbox.ts), with bounds. */
export const jobSpec = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, 'must be a DNS label of at most 63 characters'),
  runId: z.string().min(1).max(200),
  stepNumber: z.int().min(0),
  doorUrl: z.url({ protocol: /^https?$/ }).max(2000),
  token: z.string().min(1).max(4096),
  deadlineSeconds: z
    .number()
    .positive()
    .max(7 * 86_400),
})

const jobRecord = z.strictObject({
  spec: jobSpec,
  /** ISO 8601. */
  created_at: z.string(),
  state: z.enum(['pending', 'running', 'succeeded', 'failed']),
  /** The runner, with its start time so that a later process with the same number is left alone. */
  runner: z.strictObject({ pid: z.int(), start: z.string() }).optional(),
  reason: z.string(),
  /** The step has still to be told that the job is lost. */
  owes_report: z.boolean(),
  ended_at: z.string().optional(),
})

export type JobRecord = z.infer<typeof jobRecord>

/** One file a job, readable by its owner only: the token is in it. Synchronous, so that a state is on disk before it is acted on. */
export class JobRecords {
  readonly #directory: string

  constructor(directory: string) {
    this.#directory = join(directory, 'records')
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 })
  }

  /** Unreadable files (a disk that was full) are removed: what they held is unknown and the run's own deadline settles it. */
  load(): JobRecord[] {
    const records: JobRecord[] = []
    for (const name of readdirSync(this.#directory)) {
      const path = join(this.#directory, name)
      try {
        records.push(jobRecord.parse(JSON.parse(readFileSync(path, 'utf8'))))
      } catch {
        rmSync(path, { force: true })
      }
    }
    return records
  }

  save(record: JobRecord): void {
    const path = join(this.#directory, `${record.spec.name}.json`)
    writeFileSync(`${path}.new`, JSON.stringify(record), { mode: 0o600 })
    renameSync(`${path}.new`, path)
  }

  remove(name: string): void {
    rmSync(join(this.#directory, `${name}.json`), { force: true })
  }
}
