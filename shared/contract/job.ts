import * as z from 'zod'
import { WORKSPACE_PATH_BYTES, workspacePathFault } from './workspace-path.ts'

/**
 * The door: HTTP between a job's runner and functions/step, below `${doorUrl}/${runId}/${stepNumber}`, with the job's one-time
 * token as bearer. All bodies are JSON except blobs.
 *
 * - `POST start` {@link jobStartRequest} → {@link jobStartAnswer}; 401; 409 `already_answered`; 503 + Retry-After
 * - `GET blob/{sha256}` → bytes; 404
 * - `PUT blob/{sha256}` bytes → {@link jobBlobAnswer}; 400 the hash does not match; 413
 * - `POST output` {@link jobOutputRequest} → {@link jobOutputAnswer}; best effort
 * - `POST result` {@link jobResultRequest} → {@link jobResultAnswer}; the same body again gets the same answer, another 409
 */

/** Body of one `output` call at most: one Redis command stays far below its 1 MB. */
export const JOB_OUTPUT_BODY_BYTES = 64 * 1024
/** A result at most: two streams of 1 MiB, each byte up to six characters of JSON, and 10,000 paths. */
export const JOB_RESULT_BODY_BYTES = 24 * 1024 * 1024
export const JOB_WORKSPACE_FILES = 10_000
const STREAM_CHARACTERS = 1024 * 1024 + 1024
const REASON_CHARACTERS = 2000

export const jobSha256 = z.string().regex(/^[0-9a-f]{64}$/)

export const jobWorkspacePath = z
  .string()
  .min(1)
  .max(WORKSPACE_PATH_BYTES)
  .superRefine((path, context) => {
    const fault = workspacePathFault(path)
    if (fault) context.addIssue({ code: 'custom', message: `path ${fault}` })
  })

const fileFields = {
  path: jobWorkspacePath,
  sha256: jobSha256,
  /** Bytes. */
  size: z.int().min(0),
  /** Permission bits; the runner sends 0o644 or 0o755. */
  mode: z.int().min(0).max(0o777),
}

export const jobFile = z.strictObject(fileFields)

export const jobStartRequest = z.strictObject({})

export const jobLimits = z.strictObject({
  /** The tool's own run time; a smaller `timeout` in its input wins. */
  timeout_seconds: z.number().positive().max(86_400),
  /** Anonymous memory of all the tool's processes together. */
  memory_bytes: z.int().positive(),
  /** Kept of stdout and of stderr each. */
  output_bytes: z
    .int()
    .min(1024)
    .max(1024 * 1024),
  workspace_bytes: z.int().positive(),
  workspace_files: z.int().positive().max(JOB_WORKSPACE_FILES),
  file_bytes: z.int().positive(),
})

export const jobStartAnswer = z.strictObject({
  tool: z.strictObject({ name: z.string().min(1).max(100), input: z.record(z.string(), z.unknown()) }),
  files: z.array(jobFile).max(JOB_WORKSPACE_FILES),
  limits: jobLimits,
  watched: z.boolean(),
  idempotency_key: z.string().min(1).max(256),
})

/** Proves in `result` that these bytes were verified in this attempt. */
export const jobBlobAnswer = z.strictObject({ receipt: z.string().min(1).max(1024) })

export const jobOutputRequest = z.strictObject({
  chunks: z
    .array(
      z.strictObject({
        stream: z.enum(['stdout', 'stderr']),
        content: z.string().min(1).max(JOB_OUTPUT_BODY_BYTES),
      }),
    )
    .max(1000),
})

export const jobOutputAnswer = z.strictObject({ watched: z.boolean(), cancelled: z.boolean() })

const reason = z.string().min(1).max(REASON_CHARACTERS)

export const jobOutcome = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('exited'), exit_code: z.int().min(0).max(255) }),
  z.strictObject({ kind: z.literal('killed'), signal: z.string().regex(/^SIG[A-Z0-9]{1,12}$/) }),
  z.strictObject({ kind: z.literal('timeout') }),
  z.strictObject({ kind: z.literal('out_of_memory') }),
  z.strictObject({ kind: z.literal('output_limit') }),
  /** The job could not or must not be done: unknown interpreter, bad workspace. */
  z.strictObject({ kind: z.literal('refused'), reason }),
  /** The runner itself failed, so nothing is known about the tool. */
  z.strictObject({ kind: z.literal('lost'), reason }),
])

export const jobResultRequest = z.strictObject({
  outcome: jobOutcome,
  stdout: z.string().max(STREAM_CHARACTERS),
  stderr: z.string().max(STREAM_CHARACTERS),
  truncated: z.boolean(),
  duration_ms: z.int().min(0),
  files: z.strictObject({
    put: z
      .array(z.strictObject({ ...fileFields, receipt: z.string().min(1).max(1024) }))
      .max(JOB_WORKSPACE_FILES),
    removed: z.array(jobWorkspacePath).max(JOB_WORKSPACE_FILES),
  }),
})

export const jobResultAnswer = z.strictObject({ ok: z.literal(true) })

export type JobFile = z.infer<typeof jobFile>
export type JobLimits = z.infer<typeof jobLimits>
export type JobStartAnswer = z.infer<typeof jobStartAnswer>
export type JobOutputRequest = z.infer<typeof jobOutputRequest>
export type JobOutputAnswer = z.infer<typeof jobOutputAnswer>
export type JobOutcome = z.infer<typeof jobOutcome>
export type JobResultRequest = z.infer<typeof jobResultRequest>
export type JobPut = JobResultRequest['files']['put'][number]
