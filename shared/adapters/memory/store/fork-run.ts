import { AppError } from '../../../core/errors.ts'
import type { Plan } from '../../../core/plan.ts'
import type { NewStep } from '../../../core/steps.ts'
import type { CreateAnswer, VerbStore } from '../../../ports/store.ts'
import { refuseUnasked } from './approvals.ts'
import { checkOpenRuns } from './check-open-runs.ts'
import { answerOf, rememberKey, replay } from './create-once.ts'
import { addLogs, runEvent } from './logs.ts'
import { addMessages } from './messages.ts'
import { keepBlobs } from './objects.ts'
import { addSteps } from './steps.ts'
import { type Database, type FileVersion, type Message, type RunTables, SECOND, type Step } from './tables.ts'

type ForkRun = Omit<Parameters<VerbStore['forkRun']>[0], 'principal' | 'run_id'>

/** private.fork_run: a new run that shares the history before a step; the step, of a group it and those after it, is done anew. */
export function forkRun(
  db: Database,
  who: { userId: string; tenantId: string },
  source: RunTables,
  input: ForkRun,
): CreateAnswer {
  refuseUnasked(source, input.from_step)
  const earlier = replay(db, who.userId, input.idempotency)
  if (earlier !== null) return earlier
  const from = input.from_step
  const message = input.message === '' ? null : input.message
  const step = forkable(source, from, message)
  checkOpenRuns(db, who, input.limits)
  const now = db.now()
  const before = source.steps.slice(0, from)
  const fork: RunTables = {
    run: forkedRow(db, who, source, { input, message, step, now }),
    steps: [],
    queue: new Map(),
    waits: new Map(),
    approvals: new Map(),
    messages: [],
    artifacts: [],
    logs: [],
    files: filesBefore(source.files, from),
    ledger: [],
  }
  const { run } = fork
  fork.steps = before.map((each) => copyOfStep(db, run.id, each))
  fork.messages = messagesBefore(db, source, fork, { from, message })
  run.message_count = fork.messages.length
  if (message !== null && from > 0)
    addMessages(db, fork, { stepNumber: from, stepId: null }, [{ role: 'user', content: message }])
  const current = fork.files.filter(({ to_step }) => to_step === null)
  run.file_count = current.length
  run.byte_count = current.reduce((sum, { size }) => sum + size, 0)

  // from here on the database changes: what may still be refused is refused first
  const listed = new Map(db.tables.objectsToRemove)
  keepBlobs(
    db.tables,
    who.userId,
    fork.files.map(({ sha256 }) => sha256),
  )
  const anew = stepsAnew(source, step)
  const publications = addSteps(db, fork, anew, now)
  if (publications === null) {
    db.tables.objectsToRemove = listed
    throw new AppError('insufficient_credits', 'Insufficient credits')
  }
  if (step.kind === 'tool') run.group_open = anew.length
  addLogs(db, fork, [
    runEvent(run.status, step.phase_number, run.plan?.phases.length ?? 0),
    {
      log_type: 'info',
      message: `Forked at step ${from} of run ${source.run.id}`,
      event: 'fork',
      data: { run_id: source.run.id, step_number: from },
    },
  ])
  db.tables.runs.set(run.id, fork)
  rememberKey(db, who.userId, input.idempotency, run.id)
  return { ...answerOf(db, fork, { replayed: false }), publications }
}

/** The step to fork at, or why the run cannot be forked there. */
function forkable({ steps, waits }: RunTables, from: number, message: string | null): Step {
  const step = steps[from]
  if (step === undefined) throw new AppError('invalid_request', `The run has no step ${from}`)
  if (steps.slice(0, from).some(({ status }) => status !== 'completed' && status !== 'failed'))
    throw new AppError(
      'invalid_state',
      `Cannot fork at step ${from}: a step before it has not come to its end`,
    )
  if (step.kind === 'tool' && message !== null)
    throw new AppError(
      'invalid_request',
      `Step ${from} is a tool call: a message can only come before a step that asks the model`,
    )
  if (message === null && waits.get(from)?.kind === 'user')
    throw new AppError('invalid_state', `Step ${from} waits for an answer: fork it with a message`)
  return step
}

function forkedRow(
  db: Database,
  { userId, tenantId }: { userId: string; tenantId: string },
  { run, steps }: RunTables,
  at: { input: ForkRun; message: string | null; step: Step; now: number },
): RunTables['run'] {
  const { limits, from_step: from } = at.input
  const before = steps.slice(0, from)
  const planned = before.findLast(
    ({ tool_name, status }) => (tool_name === 'plan' || tool_name === 'replan') && status === 'completed',
  )
  const plan = (planned?.tool_output?.['plan'] ?? null) as Plan | null
  const { retry_of: _, ...metadata } = run.metadata
  const deadline = at.now + limits.timeout_seconds * SECOND
  return {
    ...run,
    id: db.newId(),
    user_id: userId,
    tenant_id: tenantId,
    prompt: from === 0 ? (at.message ?? run.prompt) : run.prompt,
    config: { limits, memory_context: run.config.memory_context },
    // with a plan there is nothing to queue for: planning ends with a commit that the fork will not make
    status: plan === null ? 'queued' : 'executing',
    plan,
    plan_version: Number(plan !== null),
    estimated_credits: plan?.total_estimated_credits ?? null,
    current_phase: at.step.phase_number,
    current_step_id: null,
    total_steps: from,
    completed_steps: before.filter(({ status }) => status === 'completed').length,
    failed_steps: before.filter(({ status }) => status === 'failed').length,
    total_tokens_used: 0,
    credits_used_units: 0,
    created_at: at.now,
    started_at: null,
    completed_at: null,
    timeout_at: deadline,
    error_message: null,
    error_code: null,
    metadata: { ...metadata, fork_of: run.id, fork_step: from },
    epoch: 0,
    next_step: from,
    log_seq: 0,
    last_log_at: Number.NEGATIVE_INFINITY,
    message_count: 0,
    group_open: 0,
    // the limit is for the steps it takes itself
    max_steps: from + limits.max_steps,
    timeout_seconds: limits.timeout_seconds,
    paused_from: null,
    held_at: null,
    deadline_at: deadline,
  }
}

/** Done, and paid by the run that did it. */
function copyOfStep(db: Database, runId: string, step: Step): Step {
  return {
    ...step,
    step_id: db.newId(),
    state: 'done',
    fence: 0,
    token: null,
    lease_until: null,
    last_error: null,
    tokens_used: 0,
    credits_used_units: 0,
    idempotency_key: `${runId}:${step.step_number}`,
    metadata: { ...step.metadata, copy_of: step.step_id },
  }
}

/** What a user said before the step (no step wrote it) stays, unless it is what the new message replaces; a prompt keeps its files. */
function messagesBefore(
  db: Database,
  { messages }: RunTables,
  { steps }: RunTables,
  { from, message }: { from: number; message: string | null },
): Message[] {
  const first = messages.find(({ step_number }) => step_number === 0)
  return messages
    .filter(
      (each) =>
        each.step_number < from ||
        (each.step_number === from && each.step_id === null && (message === null || each === first)),
    )
    .map((each) => {
      const content = from === 0 && each === first ? (message ?? each.content) : each.content
      return {
        ...each,
        id: db.newId(),
        step_id: each.step_id === null ? null : (steps[each.step_number]?.step_id ?? null),
        content,
        bytes: each.bytes + Buffer.byteLength(content) - Buffer.byteLength(each.content),
      }
    })
}

/** Members of a group commit in any order, so that two versions can stand at one number: the later member's is the file. */
function filesBefore(files: readonly FileVersion[], from: number): FileVersion[] {
  const standing = new Map<string, FileVersion>()
  return files
    .filter(({ from_step }) => from_step < from)
    .toSorted((a, b) => a.from_step - b.from_step)
    .map((file) => {
      const copy = { ...file }
      if (copy.to_step !== null && copy.to_step < from) return copy
      copy.to_step = null
      const older = standing.get(copy.path)
      if (older !== undefined) older.to_step = copy.from_step
      standing.set(copy.path, copy)
      return copy
    })
}

function stepsAnew({ steps }: RunTables, first: Step): NewStep[] {
  const after = steps.slice(first.step_number)
  const end = first.kind === 'model' ? 1 : after.findIndex(({ kind }) => kind === 'model')
  return after
    .slice(0, end === -1 ? undefined : end)
    .map(({ kind, tool_type, tool_name, tool_input, tool_call_id, phase_number, cost_units }) => ({
      kind,
      tool_type,
      tool_name,
      tool_input,
      tool_call_id,
      phase_number,
      cost_units,
    }))
}
