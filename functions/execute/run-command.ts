import type { ExecuteConfig } from '../../shared/config/read-config.ts'
import type {
  BulkAnswerBody,
  Command,
  CreateAnswerBody,
  VerbAnswerBody,
} from '../../shared/contract/execute.ts'
import type { RunRow } from '../../shared/contract/rows.ts'
import type { BulkVerb } from '../../shared/core/bulk-verbs.ts'
import type { RunStatus } from '../../shared/core/run.ts'
import { answerApproval } from '../../shared/engine/answer-approval.ts'
import { bulkRuns } from '../../shared/engine/bulk-runs.ts'
import { cancelRun } from '../../shared/engine/cancel-run.ts'
import { createRun } from '../../shared/engine/create-run.ts'
import { deleteRun } from '../../shared/engine/delete-run.ts'
import { forkRun } from '../../shared/engine/fork-run.ts'
import { pauseRun } from '../../shared/engine/pause-run.ts'
import { resumeRun } from '../../shared/engine/resume-run.ts'
import { retryRun } from '../../shared/engine/retry-run.ts'
import { retryStep } from '../../shared/engine/retry-step.ts'
import { startRun } from '../../shared/engine/start-run.ts'
import type { Caller } from '../../shared/ports/identity.ts'
import type { BulkResult } from '../../shared/ports/store.ts'
import type { ExecutePorts } from './ports.ts'

export type Answered =
  | { status: 201; answer: CreateAnswerBody }
  | { status: 200; answer: VerbAnswerBody | BulkAnswerBody }

/** Calls the use case of a command and words its answer. */
export async function runCommand(
  config: ExecuteConfig,
  ports: ExecutePorts,
  caller: Caller,
  command: Command,
  idempotency: { key: string; body_sha256: string } | null,
): Promise<Answered> {
  const options = {
    limits: {
      max_steps: config.runMaxSteps,
      timeout_seconds: config.runTimeoutSeconds,
      max_open_runs_per_user: config.maxOpenRunsPerUser,
      max_open_runs_per_tenant: config.maxOpenRunsPerTenant,
    },
    openingCredits: config.openingCredits,
    idempotency,
  }
  switch (command.action) {
    case 'create': {
      const { run } = await createRun(withAttachments(config, ports), caller, command, options)
      return command.auto_start
        ? created(run, 'queued', 'Run created and queued')
        : created(run, 'created', 'Run created')
    }
    case 'retry': {
      const { run } = await retryRun(ports, caller, command.run_id, options)
      return created(run, 'queued', 'Run created and queued')
    }
    case 'retry_step': {
      const { run, forked } = await retryStep(ports, caller, command, options)
      return forked ? created(run, run.status, 'Run forked') : verb(run, run.status, 'Step is tried again')
    }
    case 'fork': {
      const { run } = await forkRun(ports, caller, command, options)
      return created(run, run.status, 'Run forked')
    }
    case 'delete': {
      const { run } = await deleteRun(ports, caller, command.run_id)
      return verb(run, run.status, 'Run deleted')
    }
    case 'bulk': {
      const { results, has_more } = await bulkRuns(ports, caller, command, options)
      return bulk(command, results, has_more)
    }
    case 'start': {
      const { run } = await startRun(ports, caller, command.run_id)
      const under = run.status === 'planning' || run.status === 'executing'
      return verb(run, run.status, under ? `Run is already ${run.status}` : 'Run started')
    }
    case 'stop': {
      const { run } = await cancelRun(ports, caller, command.run_id)
      return verb(run, run.status, 'Run cancelled')
    }
    case 'pause': {
      const { run } = await pauseRun(ports, caller, command.run_id)
      return verb(run, run.status, 'Run paused')
    }
    case 'approve':
    case 'deny': {
      const { run } = await answerApproval(ports, caller, command)
      return verb(run, run.status, command.action === 'approve' ? 'Call allowed' : 'Call denied')
    }
    case 'resume': {
      const { run } = await resumeRun(ports, caller, command)
      // Old callers expect this word, whatever the run goes back to.
      return verb(run, 'executing', 'Run resumed')
    }
  }
}

/** A repeat with the same key gets the first answer, so the status is that of the creation, not of now. */
function created(run: RunRow, status: RunStatus, message: string): Answered {
  const { id: run_id, prompt, created_at } = run
  return {
    status: 201,
    answer: {
      success: true,
      run_id,
      status,
      message,
      task: { id: run_id, run_id, prompt, status, created_at },
    },
  }
}

function verb(run: RunRow, status: RunStatus, message: string): Answered {
  const plan = run.plan === null ? {} : { plan: run.plan }
  return { status: 200, answer: { success: true, run_id: run.id, status, message, ...plan } }
}

function bulk(
  { verb: action, tag }: { verb: BulkVerb; tag: string },
  results: readonly BulkResult[],
  has_more: boolean,
): Answered {
  const done = results.filter(({ ok }) => ok).length
  return {
    status: 200,
    answer: {
      success: true,
      tag,
      results: results.map((result) =>
        result.ok
          ? {
              run_id: result.run_id,
              success: true,
              status: result.status,
              ...(result.new_run_id === undefined ? {} : { new_run_id: result.new_run_id }),
            }
          : { run_id: result.run_id, success: false, code: result.code, error: result.message },
      ),
      count: results.length,
      has_more,
      message: `${action}: ${done} of ${results.length} runs`,
    },
  }
}

function withAttachments(config: ExecuteConfig, ports: ExecutePorts) {
  return {
    ...ports,
    attachmentLimits: {
      maxCount: config.maxAttachments,
      maxBytes: config.maxAttachmentBytes,
      maxTotalBytes: config.maxAttachmentsBytes,
    },
    projects: config.issuers.flatMap(({ projectUrl, projectKey }) =>
      projectUrl === null ? [] : [{ url: projectUrl, key: projectKey }],
    ),
  }
}
