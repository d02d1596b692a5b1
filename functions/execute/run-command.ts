import type { ExecuteConfig } from '../../shared/config/read-config.ts'
import type { Command, CreateAnswerBody, VerbAnswerBody } from '../../shared/contract/execute.ts'
import type { RunRow } from '../../shared/contract/rows.ts'
import type { RunStatus } from '../../shared/core/run.ts'
import { cancelRun } from '../../shared/engine/cancel-run.ts'
import { createRun } from '../../shared/engine/create-run.ts'
import { pauseRun } from '../../shared/engine/pause-run.ts'
import { resumeRun } from '../../shared/engine/resume-run.ts'
import { retryRun } from '../../shared/engine/retry-run.ts'
import { startRun } from '../../shared/engine/start-run.ts'
import type { Caller } from '../../shared/ports/identity.ts'
import type { ExecutePorts } from './ports.ts'

export type Answered = { status: 201; answer: CreateAnswerBody } | { status: 200; answer: VerbAnswerBody }

/** Calls the use case of a command and words its answer. */
export async function runCommand(
  config: ExecuteConfig,
  ports: ExecutePorts,
  caller: Caller,
  command: Command,
  idempotency: { key: string; body_sha256: string } | null,
): Promise<Answered> {
  const options = {
    limits: { max_steps: config.runMaxSteps, timeout_seconds: config.runTimeoutSeconds },
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
