import { AppError } from '../../../core/errors.ts'
import type { FinalStatus } from '../../../core/run.ts'
import type { NewStep } from '../../../core/steps.ts'
import type { Publication } from '../../../ports/scheduler.ts'
import type { CommitAnswer, StepCommit } from '../../../ports/store.ts'
import { settleStep } from './credits.ts'
import { finishRun } from './finish-run.ts'
import { microseconds } from './iso-time.ts'
import { addLogs, type NewLine, runEvent, stepEvent, stripNulls } from './logs.ts'
import { addMessages } from './messages.ts'
import { keepBlobs } from './objects.ts'
import { setStatus } from './set-status.ts'
import { dequeue } from './slots.ts'
import { addSteps } from './steps.ts'
import { DAY, type Database, MAX_DURATION_MS, type RunTables, type Step } from './tables.ts'

/** What follows a commit, once its group's last member is known. */
type Following =
  | { kind: 'nothing' }
  | { kind: 'steps'; steps: NewStep[] }
  | { kind: 'wait_user' | 'wait_approval'; question: string; steps: NewStep[] }
  | { kind: 'end'; status: FinalStatus; code: string | null; message: string | null; result: string | null }

/** private.apply_commit: how a step ended and what follows. The caller has checked fence or token. */
export function applyCommit(
  db: Database,
  tables: RunTables,
  step: Step,
  commit: StepCommit,
  { used = true } = {},
): CommitAnswer {
  const { run } = tables
  writeFiles(db, tables, step, commit)
  const now = db.now()
  const charged = settleStep(db, tables, step.step_number, used)
  endStep(step, commit, { now, charged })
  dequeue(db, tables, step.step_number)
  addMessages(
    db,
    tables,
    { stepNumber: step.step_number, stepId: step.step_id },
    // a tool's result answers the call that made the step: its id is ours to know, not the writer's
    commit.messages.map((message) =>
      step.kind === 'tool' && message.role === 'tool'
        ? { ...message, tool_call_id: step.tool_call_id, tool_name: step.tool_name }
        : message,
    ),
  )
  const lines = stepLines(db, tables, step, commit)
  lines.push(...takePlan(tables, commit))
  run.completed_steps += Number(commit.status === 'completed')
  run.failed_steps += Number(commit.status === 'failed')
  run.total_tokens_used += commit.tokens_used
  run.credits_used_units += charged
  lines.push(...beginExecuting(tables, commit))
  const { following, publications } = scheduleNext(db, tables, commit, now)
  if (following.kind === 'wait_user' || following.kind === 'wait_approval')
    lines.push(...waitForUser(db, tables, step, following, now))
  let log_seq = addLogs(db, tables, lines)
  if (following.kind === 'end') {
    // the last step of a paused run ends it all the same: there is nothing left to hold
    if (following.status === 'completed' && run.status === 'paused') setStatus(run, 'executing')
    log_seq = finishRun(db, tables, following)
  }
  return { committed: true, run_status: run.status, publications, log_seq }
}

/** Bytes verified in this attempt, or a hash of the run's own files; a foreign hash gives nobody a file. */
function writeFiles(
  db: Database,
  { run, files }: RunTables,
  step: Step,
  { files: changed, verified }: StepCommit,
): void {
  const stranger = changed.put.find(
    ({ sha256 }) => !verified.includes(sha256) && !files.some((file) => file.sha256 === sha256),
  )
  if (stranger !== undefined)
    throw new AppError('invalid_request', `File ${stranger.path} names bytes that were not verified`)
  if (changed.put.length + changed.removed.length === 0) return
  keepBlobs(
    db.tables,
    run.user_id,
    changed.put.map(({ sha256 }) => sha256),
  )
  const gone = new Set([...changed.removed, ...changed.put.map(({ path }) => path)])
  for (const file of files) if (file.to_step === null && gone.has(file.path)) file.to_step = step.step_number
  for (const { path, sha256, size, mode } of changed.put)
    files.push({ path, from_step: step.step_number, to_step: null, sha256, size, mode })
  const current = files.filter(({ to_step }) => to_step === null)
  run.file_count = current.length
  run.byte_count = current.reduce((sum, { size }) => sum + size, 0)
}

function endStep(step: Step, commit: StepCommit, { now, charged }: { now: number; charged: number }): void {
  step.status = commit.status
  step.tool_output = commit.output
  step.output_text = commit.output_text
  step.error_code = commit.error_code
  step.error_message = commit.error_message
  step.tokens_used = commit.tokens_used
  step.credits_used_units = charged
  step.started_at ??= now
  step.completed_at = now
  step.duration_ms = Math.min(Math.round((now - step.started_at) / 1000), MAX_DURATION_MS)
  step.retry_count = Math.max(0, step.attempt - 1)
  step.state = 'done'
  step.token = null
  step.lease_until = null
}

function stepLines(db: Database, { artifacts }: RunTables, step: Step, commit: StepCommit): NewLine[] {
  const kind = commit.next.kind === 'complete' || step.kind === 'tool' ? 'answer' : 'thinking'
  const { step_id } = step
  const lines: NewLine[] = commit.messages
    .filter(({ role, content }) => role === 'assistant' && content !== '')
    .map(({ id, content }) => ({
      log_type: 'info',
      message: [...content].slice(0, 500).join(''),
      event: 'message',
      message_id: id,
      step_id,
      data: { kind },
    }))
  for (const { log_type, message, event, data } of commit.logs)
    lines.push({ log_type, message, event, step_id, data: stripNulls(data) })
  lines.push(stepEvent(step_id, step.tool_name, commit.status))
  for (const { signed_url_expires_at, ...artifact } of commit.artifacts) {
    const id = db.newId()
    artifacts.push({
      ...artifact,
      id,
      step_id,
      signed_url_expires_at: microseconds(signed_url_expires_at),
      created_at: db.now(),
    })
    lines.push({
      log_type: 'success',
      message: `File ${artifact.filename}`,
      event: 'artifact',
      artifact_id: id,
      step_id,
    })
  }
  return lines
}

function takePlan({ run }: RunTables, commit: StepCommit): NewLine[] {
  const lines: NewLine[] = []
  if (commit.plan !== null) {
    run.plan = commit.plan
    run.plan_version += 1
    run.estimated_credits = commit.plan.total_estimated_credits
    lines.push({
      log_type: 'info',
      message: `Plan: ${[...commit.plan.goal].slice(0, 300).join('')}`,
      event: 'plan',
      data: { total_phases: commit.plan.phases.length },
    })
  }
  const phase = commit.current_phase ?? run.current_phase
  if (phase !== run.current_phase) {
    const name = run.plan?.phases[phase - 1]?.name
    lines.push({
      log_type: 'phase_advance',
      message: `Phase ${phase}${name === undefined ? '' : `: ${name}`}`,
      event: 'phase',
      data: { from_phase: run.current_phase, to_phase: phase, total_phases: run.plan?.phases.length ?? 0 },
    })
    run.current_phase = phase
  }
  return lines
}

/** Planning becomes executing with the plan, also below a pause. */
function beginExecuting({ run }: RunTables, { plan }: StepCommit): NewLine[] {
  if (plan === null) return []
  if (run.status === 'planning') {
    setStatus(run, 'executing')
    return [runEvent('executing', run.current_phase, plan.phases.length)]
  }
  if (run.status === 'paused' && run.paused_from === 'planning') run.paused_from = 'executing'
  return []
}

function scheduleNext(
  db: Database,
  tables: RunTables,
  commit: StepCommit,
  now: number,
): { following: Following; publications: Publication[] } {
  const { run } = tables
  const following = followingOf(tables, commit)
  if (following.kind === 'nothing' || following.kind === 'end') return { following, publications: [] }
  if (run.next_step + following.steps.length > run.max_steps)
    return fails(
      'STEP_LIMIT',
      `The run reached its limit of ${run.max_steps} steps. Its messages and files are kept: fork it to go on from there, or start a run with a smaller task.`,
    )
  const due = following.kind !== 'steps' || run.status === 'paused' ? null : now
  const publications = addSteps(db, tables, following.steps, due)
  if (publications === null)
    return fails(
      'INSUFFICIENT_CREDITS',
      'Insufficient credits to continue. The messages and files of the run are kept: fork it to go on from there when there is credit again.',
    )
  if (following.steps[0]?.kind === 'tool') run.group_open = following.steps.length
  return { following, publications }
}

function fails(code: string, message: string): { following: Following; publications: Publication[] } {
  return { following: { kind: 'end', status: 'failed', code, message, result: null }, publications: [] }
}

function followingOf({ run }: RunTables, { next }: StepCommit): Following {
  switch (next.kind) {
    case 'steps':
    case 'wait_user':
    case 'wait_approval':
      return next
    case 'group':
      run.group_open -= 1
      return run.group_open === 0
        ? { kind: 'steps', steps: [{ ...next.model_step, phase_number: run.current_phase }] }
        : { kind: 'nothing' }
    case 'complete':
      return { kind: 'end', status: 'completed', code: null, message: null, result: next.result }
    case 'fail':
      return { kind: 'end', status: 'failed', code: next.code, message: next.message, result: null }
  }
}

function waitForUser(
  db: Database,
  tables: RunTables,
  step: Step,
  { kind, question, steps }: Extract<Following, { question: string }>,
  now: number,
): NewLine[] {
  const { run, waits } = tables
  const first = run.next_step - steps.length
  waits.set(first, {
    step_number: first,
    kind: 'user',
    job_name: null,
    token_sha256: null,
    confirmed_at: null,
    deadline_at: now + 30 * DAY,
    body_sha256: null,
    answer: null,
    finished_at: null,
  })
  const lines: NewLine[] = [
    {
      log_type: 'user_input_required',
      message: question,
      event: 'user_input_required',
      step_id: step.step_id,
      data: {
        question,
        ...(kind === 'wait_approval' ? { approvals: askApprovals(db, tables, first, steps) } : {}),
      },
    },
  ]
  if (run.status === 'paused') run.paused_from = 'waiting_user'
  else {
    setStatus(run, 'waiting_user')
    run.deadline_at = now + 30 * DAY
    run.held_at = now
    lines.push(runEvent('waiting_user', run.current_phase, run.plan?.phases.length ?? 0))
  }
  return lines
}

/** private.ask_approvals: what the log says of each; the input stands in the step's row. */
function askApprovals(
  db: Database,
  { approvals, steps }: RunTables,
  first: number,
  asked: readonly NewStep[],
) {
  return asked.flatMap(({ needs_approval, tool_name }, n) => {
    if (!needs_approval) return []
    const step_number = first + n
    const id = db.newId()
    approvals.set(step_number, {
      id,
      step_number,
      asked_at: db.now(),
      answered_at: null,
      approved: null,
      reason: null,
    })
    return [{ approval_id: id, step_number, step_id: steps[step_number]?.step_id, tool_name }]
  })
}
