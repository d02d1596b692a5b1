import type { JobResultRequest } from '../contract/job.ts'
import { AppError } from '../core/errors.ts'
import { TOOL_RESULT_CHARS } from '../core/limits.ts'
import { announce } from './advance-run.ts'
import { isBlobReceipt, type JobId, sha256Hex } from './job-token.ts'
import { publishArtifacts } from './publish-artifacts.ts'
import type { DoorDeps } from './step-deps.ts'
import { toolCommit } from './tool-step.ts'

/** The end of a job, committed once: the same body again gets the same answer, another body is refused. */
export async function finishJob(
  deps: DoorDeps,
  job: JobId,
  token: string,
  rawBody: string,
  result: JobResultRequest,
): Promise<void> {
  const ids = { run_id: job.runId, step_number: job.stepNumber, token_sha256: sha256Hex(token) }
  const forged = result.files.put.find(
    ({ sha256, size, receipt }) => !isBlobReceipt(deps.settings.secret, job, sha256, size, receipt),
  )
  if (forged !== undefined)
    throw new AppError('invalid_request', `The receipt of ${forged.path} is not valid`)
  const put = result.files.put.map(({ path, sha256, size, mode }) => ({ path, sha256, size, mode }))

  // A failed tool's files stay in the workspace, for the next call to look at, but only a successful one hands files to the user.
  const succeeded = result.outcome.kind === 'exited' && result.outcome.exit_code === 0
  let artifacts: Awaited<ReturnType<typeof publishArtifacts>> = []
  if (succeeded && put.some(({ path }) => path.startsWith('outputs/'))) {
    const { user_id } = await deps.store.checkJob(ids)
    artifacts = await publishArtifacts(deps, { runId: job.runId, owner: user_id, files: put })
  }
  const written = await deps.store.finishJob({
    ...ids,
    body_sha256: sha256Hex(rawBody),
    commit: {
      ...toolCommit({ ...describe(result), isError: !succeeded }, outcomeCode(result)),
      artifacts,
      files: { put, removed: result.files.removed },
      verified: put.map(({ sha256 }) => sha256),
    },
  })
  await announce(deps, job.runId, written)
}

function outcomeCode({ outcome }: JobResultRequest): string {
  return {
    exited: 'TOOL_FAILED',
    killed: 'TOOL_KILLED',
    timeout: 'TOOL_TIMEOUT',
    out_of_memory: 'TOOL_OUT_OF_MEMORY',
    output_limit: 'TOOL_OUTPUT_LIMIT',
    refused: 'TOOL_REFUSED',
    lost: 'TOOL_LOST',
  }[outcome.kind]
}

/** The result as callers read it, and the text that the model reads. */
function describe({ outcome, stdout, stderr, truncated, duration_ms }: JobResultRequest): {
  output: Record<string, unknown>
  text: string
} {
  const exit_code = outcome.kind === 'exited' ? outcome.exit_code : null
  const streams = {
    stdout,
    stderr,
    exit_code,
    execution_time_ms: duration_ms,
    ...(truncated ? { truncated } : {}),
  }
  const output =
    outcome.kind === 'exited' ? streams : { ...streams, error: outcomeCode({ outcome } as JobResultRequest) }
  const json = cut(JSON.stringify(streams))
  if (outcome.kind === 'exited')
    return { output, text: outcome.exit_code === 0 ? json : `Exit code ${outcome.exit_code}\n${json}` }
  return { output, text: `${sentence(outcome)}\n${json}` }
}

function sentence(outcome: Exclude<JobResultRequest['outcome'], { kind: 'exited' }>): string {
  switch (outcome.kind) {
    case 'killed':
      return `The tool was killed (${outcome.signal}).`
    case 'timeout':
      return 'The tool reached its time limit and was stopped.'
    case 'out_of_memory':
      return 'The tool ran out of memory and was stopped.'
    case 'output_limit':
      return 'The tool wrote too much output and was stopped.'
    case 'refused':
      return `The tool call was not carried out: ${outcome.reason}`
    case 'lost':
      return `The tool's job was lost: ${outcome.reason}`
  }
}

function cut(text: string): string {
  if (text.length <= TOOL_RESULT_CHARS) return text
  const half = TOOL_RESULT_CHARS / 2
  return `${text.slice(0, half)}\n[… ${text.length - TOOL_RESULT_CHARS} characters left out …]\n${text.slice(-half)}`.toWellFormed()
}
