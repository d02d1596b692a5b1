import { JOB_CHECK_SECONDS, JOB_GRACE_SECONDS } from '../core/limits.ts'
import { modelStep } from '../core/steps.ts'
import type { JobState } from '../ports/sandbox.ts'
import type { BurstClaim, Claim, CommitAnswer, StepCommit, WorkspaceFile } from '../ports/store.ts'
import { TOOLS } from '../tools/registry.ts'
import type { InlineResult, Workspace } from '../tools/tool.ts'
import { jobName, jobToken, sha256Hex } from './job-token.ts'
import { publishArtifacts } from './publish-artifacts.ts'
import { stepCommit } from './step-commit.ts'
import type { StepDeps } from './step-deps.ts'

/** Carries out one tool call: inline tools here and now, all others as a job that the step waits for. */
export async function toolStep(
  deps: StepDeps,
  claim: Claim,
  burst: BurstClaim | null,
): Promise<CommitAnswer> {
  const { step, run } = claim
  const tool = TOOLS.get(step.tool_name)
  if (tool === undefined) {
    return deps.store.commitStep({
      ...step,
      burst,
      commit: failedTool('UNKNOWN_TOOL', `This service has no tool ${step.tool_name}.`),
    })
  }
  if (tool.kind === 'job') return startJob(deps, claim)

  const input = tool.input.safeParse(step.tool_input)
  if (!input.success) {
    return deps.store.commitStep({
      ...step,
      burst,
      commit: failedTool('INVALID_INPUT', `The input of ${tool.name} is not valid.`),
    })
  }
  const workspace = workspaceOf(deps, claim)
  const result = await tool.run(input.data, {
    owner: run.user_id,
    workspace,
    blobs: deps.blobs,
    newId: deps.newId,
  })
  const put = result.put ?? []
  const artifacts = await publishArtifacts(deps, { runId: run.id, owner: run.user_id, files: put })
  return deps.store.commitStep({
    ...step,
    burst,
    commit: {
      ...toolCommit(result, 'TOOL_FAILED'),
      files: { put, removed: [] },
      verified: put.map(({ sha256 }) => sha256),
      artifacts,
    },
  })
}

/** Parks first, makes the job second: a job that ends at once finds its step waiting. */
export async function startJob(deps: StepDeps, { step }: Claim): Promise<CommitAnswer> {
  const job = { runId: step.run_id, stepNumber: step.step_number }
  const token = jobToken(deps.settings.secret, job, step.epoch)
  const parked = await deps.store.parkStep({
    ...step,
    job_name: jobName(job),
    token_sha256: sha256Hex(token),
    deadline_seconds: deps.settings.jobDeadlineSeconds + JOB_GRACE_SECONDS,
    check_seconds: JOB_CHECK_SECONDS,
  })
  if (!parked.committed) return parked
  await deps.sandbox.create({
    name: jobName(job),
    ...job,
    doorUrl: deps.settings.doorUrl,
    token,
    deadlineSeconds: deps.settings.jobDeadlineSeconds + JOB_GRACE_SECONDS,
  })
  return parked
}

/** A step waits for a job and nobody has called back: looks at the job and goes on from what it sees. */
export async function checkJob(deps: StepDeps, claim: Claim): Promise<CommitAnswer> {
  const { step } = claim
  if (step.job === null) throw new Error('only a parked step can be checked')
  const { name, confirmed, past_deadline } = step.job
  const state = await deps.sandbox.inspect(name)
  if (past_deadline) {
    await deps.sandbox.remove(name)
    return deps.store.commitStep({
      ...step,
      commit: failedTool(
        'TOOL_TIMEOUT',
        state.state === 'pending'
          ? `The tool did not start within its time${because(state)}.`
          : 'The tool did not end within its time and was stopped.',
      ),
    })
  }
  if (state.state === 'pending' && isGivenUp(deps, state)) {
    await deps.sandbox.remove(name)
    const text = `The tool's job did not start${because(state)}. Nothing of it was run.`
    return deps.store.commitStep({ ...step, commit: failedTool('TOOL_NOT_STARTED', text) })
  }
  if (state.state === 'missing' && !confirmed) return startJob(deps, claim)
  if (state.state === 'pending' || state.state === 'running') {
    return deps.store.parkStep({
      ...step,
      job_name: name,
      token_sha256: '',
      deadline_seconds: deps.settings.jobDeadlineSeconds + JOB_GRACE_SECONDS,
      check_seconds: JOB_CHECK_SECONDS,
    })
  }
  const reason = 'reason' in state ? `it ended without a report (${state.reason})` : 'it is gone'
  return deps.store.commitStep({
    ...step,
    commit: failedTool(
      'TOOL_LOST',
      `The tool's job was lost: ${reason}. Nothing is known about what it did.`,
    ),
  })
}

type Pending = Extract<JobState, { state: 'pending' }>

function isGivenUp(deps: StepDeps, { isHopeless, waitedSeconds }: Pending): boolean {
  return isHopeless === true || (waitedSeconds ?? 0) >= deps.settings.jobStartSeconds
}

function because({ reason }: Pending): string {
  return reason === undefined ? '' : ` (${reason})`
}

/** A tool call that failed is a result like any other: the model reads it and goes on. */
export function failedTool(code: string, text: string): StepCommit {
  return toolCommit({ output: { error: code }, text, isError: true }, code)
}

export function toolCommit(
  result: Pick<InlineResult, 'output' | 'text' | 'isError' | 'messages'>,
  failureCode: string,
): StepCommit {
  return stepCommit({
    status: result.isError ? 'failed' : 'completed',
    output: result.output,
    output_text: result.text,
    ...(result.isError ? { error_code: failureCode, error_message: result.text.slice(0, 2000) } : {}),
    messages: [
      ...(result.messages ?? []),
      {
        id: null,
        role: 'tool',
        content: result.text,
        tool_call_id: null,
        tool_name: null,
        is_error: result.isError,
        blocks: null,
      },
    ],
    next: { kind: 'group', model_step: modelStep('decide', 0) },
  })
}

/** The claim brings the first 200 files along, which is mostly all of them; only larger workspaces ask the store. */
function workspaceOf(deps: StepDeps, { run, workspace }: Claim): Workspace {
  const below = (folder: string) => (file: WorkspaceFile) =>
    folder === '' || file.path.startsWith(`${folder}/`)
  return {
    async find(path) {
      const known = workspace.entries.find((file) => file.path === path)
      if (known !== undefined || workspace.complete) return known
      return (await deps.store.readFiles({ run_id: run.id, paths: [path], under: null, limit: 1 }))[0]
    },
    async list(folder, limit) {
      if (workspace.complete) return workspace.entries.filter(below(folder)).slice(0, limit)
      return deps.store.readFiles({
        run_id: run.id,
        paths: null,
        under: folder === '' ? null : `${folder}/`,
        limit,
      })
    },
  }
}
