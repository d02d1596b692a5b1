import { READS_PROTOCOL } from '../../../core/protocol.ts'
import { isFinal } from '../../../core/run.ts'
import { modelStep } from '../../../core/steps.ts'
import type { Claim, ClaimAnswer, ConversationMessage, StepCommit, StepStore } from '../../../ports/store.ts'
import { applyCommit } from './apply-commit.ts'
import { currentFiles } from './files.ts'
import { handOutOnce } from './hand-out-once.ts'
import { isoTime } from './iso-time.ts'
import { addLogs, type NewLine, runEvent, stepEvent } from './logs.ts'
import { setStatus } from './set-status.ts'
import { calledUp, leaveSlot, passSlot, takeSlot } from './slots.ts'
import { unclaimed } from './steps.ts'
import { type Database, type RunTables, SECOND, type Step, type Wait } from './tables.ts'

const MAX_ATTEMPTS = 5
const MAX_CONVERSATION_BYTES = 400_000
const MAX_CONVERSATION_MESSAGES = 400
const MAX_ENTRIES = 200

/** agent_claim_step: takes the step if it is due, or says why not. */
export function claimStep(db: Database, input: Parameters<StepStore['claimStep']>[0]): ClaimAnswer {
  const tables = db.tables.runs.get(input.run_id)
  if (tables === undefined) return { refused: 'unknown', publications: [] }
  const { run, steps, queue, waits } = tables
  const now = db.now()
  if (isFinal(run.status)) {
    const jobs = [...waits.values()].flatMap(({ job_name }) => {
      const listed = job_name === null ? undefined : db.tables.jobsToRemove.get(job_name)
      if (job_name === null || listed === undefined || listed.handed_out) return []
      handOutOnce(listed, now)
      return [job_name]
    })
    return { refused: 'final', publications: [], jobs_to_remove: jobs }
  }
  const step = steps[input.step_number]
  if (step === undefined) return { refused: 'unknown', publications: [] }
  if (step.state !== 'open')
    return { refused: 'done', publications: run.status === 'paused' ? [] : unclaimed(db, tables) }
  // rows that only newer code understands wait for it, and no attempt is counted
  if (run.protocol > (input.protocol ?? READS_PROTOCOL)) return { refused: 'newer', publications: [] }
  const kept = waits.get(step.step_number)
  const wait = kept?.finished_at === null ? kept : undefined
  const queued = queue.get(step.step_number)
  if (queued === undefined) throw new Error('an open step is on the queue')
  if (run.status === 'paused' && wait?.kind !== 'job') {
    // an attempt in work keeps its place on the schedule: a resume leaves it alone, and its process may be dead
    if (step.lease_until !== null && step.lease_until > now) return { refused: 'paused', publications: [] }
    queued.publish_at = null
    return { refused: 'paused', publications: leaveSlot(db, tables, queued) }
  }
  // a second of grace, so that a delivery by another clock is not sent away
  if (queued.due_at > now + SECOND) return { refused: 'not_due', publications: [] }
  if (step.lease_until !== null && step.lease_until > now) {
    const retry_after_seconds = (step.lease_until - now) / SECOND
    return { refused: 'leased', retry_after_seconds, publications: [] }
  }
  if (isSwitchedOff(db, tables, step)) {
    queued.publish_at = now + 60 * SECOND
    return { refused: 'switched_off', publications: leaveSlot(db, tables, queued) }
  }
  // A check on a job is not an attempt.
  if (step.attempt >= MAX_ATTEMPTS && wait === undefined) {
    const { publications } = applyCommit(db, tables, step, exhausted(step))
    const called = queued.slot === null ? [] : calledUp(db, run.tenant_id)
    return { refused: 'done', publications: [...publications, ...called] }
  }
  if (step.kind === 'tool' && queued.slot === null && wait === undefined) {
    if (input.parallel === undefined) {
      // code from before there were limits: it takes no place, and lets the next one into the line instead
      if (queued.waits === 'tenant') passSlot(db, tables, null)
    } else if (!input.parallel.inline_tools.includes(step.tool_name)) {
      const busy = takeSlot(db, tables, queued, input.parallel)
      if (busy !== undefined) return busy
    }
  }
  step.attempt += Number(wait === undefined)
  step.fence += 1
  step.token = db.newId()
  step.lease_until = now + input.lease_seconds * SECOND
  queued.publish_at = step.lease_until + 2 * SECOND
  queued.waits = null
  begin(db, tables, step, now)
  return { claim: describe(db, tables, { step, wait, leaseSeconds: input.lease_seconds, now }) }
}

function isSwitchedOff(db: Database, { run }: RunTables, { tool_name }: Step): boolean {
  return [...db.tables.switches].some(
    (off) =>
      (off.tenant_id === null || off.tenant_id === run.tenant_id) &&
      (off.tool_name === null || off.tool_name === tool_name),
  )
}

function exhausted(step: Step): StepCommit {
  const cause = step.last_error === null ? '. Its last attempt was cut off.' : `: ${step.last_error}`
  const message = `The step did not finish in ${step.attempt} attempts${cause}`
  const isTool = step.kind === 'tool'
  return {
    status: 'failed',
    output: null,
    output_text: null,
    error_code: 'ATTEMPTS_EXHAUSTED',
    error_message: message,
    tokens_used: 0,
    messages: isTool
      ? [
          {
            id: null,
            role: 'tool',
            content: message,
            tool_call_id: step.tool_call_id,
            tool_name: step.tool_name,
            is_error: true,
            blocks: null,
          },
        ]
      : [],
    artifacts: [],
    logs: [],
    files: { put: [], removed: [] },
    verified: [],
    plan: null,
    current_phase: null,
    next: isTool
      ? { kind: 'group', model_step: modelStep('decide', 0) }
      : { kind: 'fail', code: 'ATTEMPTS_EXHAUSTED', message },
  }
}

function begin(db: Database, tables: RunTables, step: Step, now: number): void {
  const { run } = tables
  const lines: NewLine[] = []
  if (run.status === 'queued') {
    setStatus(run, 'planning')
    lines.push(runEvent('planning', 0, 0))
  }
  run.current_step_id = step.step_id
  run.started_at ??= now
  if (step.status === 'pending') {
    step.status = 'running'
    step.started_at = now
    lines.push(stepEvent(step.step_id, step.tool_name, 'running'))
  }
  if (lines.length > 0) addLogs(db, tables, lines)
}

function describe(
  db: Database,
  tables: RunTables,
  at: { step: Step; wait: Wait | undefined; leaseSeconds: number; now: number },
): Claim {
  const { run } = tables
  const { step, wait } = at
  return {
    log_seq: run.log_seq,
    step: {
      run_id: run.id,
      step_number: step.step_number,
      step_id: step.step_id,
      epoch: run.epoch,
      fence: step.fence,
      token: step.token ?? '',
      attempt: step.attempt,
      lease_seconds: at.leaseSeconds,
      kind: step.kind,
      tool_type: step.tool_type,
      tool_name: step.tool_name,
      tool_input: step.tool_input,
      tool_call_id: step.tool_call_id,
      phase_number: step.phase_number,
      last_error: step.last_error,
      job:
        wait?.kind === 'job'
          ? {
              name: wait.job_name ?? '',
              confirmed: wait.confirmed_at !== null,
              deadline_at: isoTime(wait.deadline_at),
              past_deadline: wait.deadline_at <= at.now,
            }
          : null,
    },
    run: {
      id: run.id,
      user_id: run.user_id,
      tenant_id: run.tenant_id,
      prompt: run.prompt,
      mode: run.mode,
      status: run.status,
      plan: run.plan,
      current_phase: run.current_phase,
      next_step: run.next_step,
      limits: run.config.limits,
      memory_context: run.config.memory_context,
      created_at: isoTime(run.created_at),
      timeout_at: isoTime(run.timeout_at ?? db.now()),
    },
    conversation: step.kind === 'model' ? conversation(tables) : [],
    messages: run.message_count,
    workspace: {
      files: run.file_count,
      bytes: run.byte_count,
      complete: run.file_count <= MAX_ENTRIES,
      entries: currentFiles(tables, { paths: null, under: null, limit: MAX_ENTRIES }),
    },
  }
}

/** The newest messages that fit, and the first one. */
function conversation({ messages }: RunTables): ConversationMessage[] {
  const newest = messages.slice(-MAX_CONVERSATION_MESSAGES)
  let start = newest.length
  let bytes = 0
  while (start > 0) {
    bytes += newest[start - 1]?.bytes ?? 0
    if (bytes > MAX_CONVERSATION_BYTES) break
    start -= 1
  }
  const kept = newest.slice(start)
  const [first] = messages
  if (first !== undefined && kept[0] !== first) kept.unshift(first)
  return kept.map(({ step_number, role, content, tool_call_id, tool_name, metadata, attachments }) => ({
    step_number,
    role,
    content,
    tool_call_id,
    tool_name,
    is_error: metadata.is_error ?? false,
    blocks: metadata.blocks ?? null,
    attachments,
  }))
}
