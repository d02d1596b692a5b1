import { AppError } from '../../../core/errors.ts'
import { isFinal, type RunStatus } from '../../../core/run.ts'
import { modelStep } from '../../../core/steps.ts'
import type { Publication } from '../../../ports/scheduler.ts'
import type { CancelAnswer, RunAnswer } from '../../../ports/store.ts'
import { commitDenied, openApprovals, stepOf } from './approvals.ts'
import { finishRun } from './finish-run.ts'
import { addLogs, type NewLine, runEvent } from './logs.ts'
import { addMessages } from './messages.ts'
import { runRow } from './rows.ts'
import { setStatus } from './set-status.ts'
import { calledUp } from './slots.ts'
import { addSteps, publicationOf, unclaimed } from './steps.ts'
import { DAY, type Database, type RunTables, SECOND } from './tables.ts'

export function badState(verb: string, { run }: RunTables): AppError {
  return new AppError('invalid_state', `Cannot ${verb} run in status: ${run.status}`)
}

const phases = ({ run }: RunTables): number => run.plan?.phases.length ?? 0

export function startRun(db: Database, tables: RunTables): RunAnswer {
  const { run } = tables
  if (['queued', 'planning', 'executing'].includes(run.status))
    return { run: runRow(run), publications: unclaimed(db, tables) }
  if (run.status !== 'created') throw badState('start', tables)
  const now = db.now()
  const publications = addSteps(db, tables, [modelStep('plan', 0)], now)
  if (publications === null) throw new AppError('insufficient_credits', 'Insufficient credits')
  setStatus(run, 'queued')
  run.timeout_at = now + run.timeout_seconds * SECOND
  run.deadline_at = run.timeout_at
  addLogs(db, tables, [runEvent('queued', 0, 0)])
  return { run: runRow(run), publications }
}

export function cancelRun(db: Database, tables: RunTables): CancelAnswer {
  const { run, waits, queue } = tables
  if (isFinal(run.status)) throw badState('cancel', tables)
  const jobs: string[] = []
  const publications: Publication[] = []
  for (const { kind, job_name, step_number, finished_at } of waits.values()) {
    const queued = queue.get(step_number)
    if (kind !== 'job' || finished_at !== null || job_name === null || queued === undefined) continue
    jobs.push(job_name)
    // delivered once more: it finds its run ended and removes the job
    publications.push({
      ...publicationOf(db, tables, queued),
      publication: queued.publication + 1,
      delay_seconds: 0,
    })
  }
  finishRun(db, tables, { status: 'cancelled', code: null, message: null, result: null })
  publications.push(...calledUp(db, run.tenant_id))
  return { run: runRow(run), publications, jobs }
}

/** Neither in work nor out as a job: what a pause holds and a resume sends on its way. */
export function isIdle(db: Database, { steps, waits }: RunTables, stepNumber: number): boolean {
  const wait = waits.get(stepNumber)
  return (
    !((steps[stepNumber]?.lease_until ?? 0) > db.now()) &&
    !(wait?.kind === 'job' && wait.finished_at === null)
  )
}

export function pauseRun(db: Database, tables: RunTables): RunAnswer {
  const { run, queue } = tables
  if (!['queued', 'planning', 'executing', 'waiting_user'].includes(run.status))
    throw badState('pause', tables)
  const now = db.now()
  const from = run.status
  setStatus(run, 'paused')
  run.paused_from = from
  run.held_at ??= now
  run.deadline_at = now + 30 * DAY
  // a job that is out or an attempt in flight finishes; everything else is held
  for (const queued of queue.values()) if (isIdle(db, tables, queued.step_number)) queued.publish_at = null
  addLogs(db, tables, [runEvent('paused', run.current_phase, phases(tables))])
  return { run: runRow(run), publications: [] }
}

export function resumeRun(db: Database, tables: RunTables, input: string | null): RunAnswer {
  const { run, steps, approvals } = tables
  if (run.status !== 'waiting_user' && run.status !== 'paused') throw badState('resume', tables)
  const text = input ?? ''
  if (run.status === 'waiting_user' && text === '' && openApprovals(tables).length > 0)
    throw new AppError(
      'invalid_state',
      'This run waits for an approval: approve or deny it, or resume with an input that answers instead',
    )
  const now = db.now()
  const from = run.status
  let to = from === 'paused' ? (run.paused_from ?? 'executing') : 'executing'
  // a question is answered by input; resuming a pause without any goes back to waiting for it
  if (to === 'waiting_user' && text !== '') {
    to = 'executing'
    setStatus(run, 'waiting_user')
  }
  if (to !== 'waiting_user') {
    // what was asked about and is answered with words instead is not allowed
    for (const approval of approvals.values())
      if (approval.answered_at === null)
        Object.assign(approval, {
          answered_at: now,
          approved: false,
          reason: 'They answered with a message instead.',
        })
  }
  const lines: NewLine[] = []
  if (text !== '' || from === 'waiting_user') {
    const next = steps.find(({ state, kind }) => state === 'open' && kind === 'model')
    const id = db.newId()
    const content = text === '' ? 'Please continue.' : text
    addMessages(db, tables, { stepNumber: next?.step_number ?? run.next_step, stepId: null }, [
      { id, role: 'user', content },
    ])
    lines.push({
      log_type: 'info',
      message: 'Message from the user',
      event: 'message',
      message_id: id,
      data: { kind: 'user' },
    })
  }
  if (to !== 'waiting_user') {
    const publications = continueRun(db, tables, to, lines)
    return { run: runRow(run), publications }
  }
  setStatus(run, to)
  if (run.timeout_at !== null) run.timeout_at += now - (run.held_at ?? now)
  run.paused_from = null
  // what was held so far has been added to its time
  run.held_at = now
  addLogs(db, tables, [...lines, runEvent(to, run.current_phase, phases(tables))])
  return { run: runRow(run), publications: [] }
}

/** private.continue_run: its time is added to what it may take, and what is idle becomes due. */
function continueRun(db: Database, tables: RunTables, to: RunStatus, lines: NewLine[]): Publication[] {
  const { run, queue } = tables
  const now = db.now()
  setStatus(run, to)
  if (run.timeout_at !== null) run.timeout_at += now - (run.held_at ?? now)
  run.paused_from = null
  forgetQuestion(tables)
  run.held_at = null
  run.deadline_at = run.timeout_at
  addLogs(db, tables, [...lines, runEvent(to, run.current_phase, phases(tables))])
  commitDenied(db, tables)
  const publications: Publication[] = []
  for (const queued of [...queue.values()].sort((a, b) => a.step_number - b.step_number)) {
    if (!isIdle(db, tables, queued.step_number)) continue
    queued.due_at = Math.min(queued.due_at, now)
    queued.publication += 1
    queued.publish_at = now + 20 * SECOND
    publications.push(publicationOf(db, tables, queued))
  }
  return publications
}

function forgetQuestion({ waits }: RunTables): void {
  for (const [number, { kind }] of waits) if (kind === 'user') waits.delete(number)
}

/** private.answer_approval */
export function answerApproval(
  db: Database,
  tables: RunTables,
  { approval_id, approved, message }: { approval_id: string; approved: boolean; message: string | null },
): RunAnswer {
  const { run, steps, approvals } = tables
  const approval = [...approvals.values()].find(({ id }) => id === approval_id)
  if (approval === undefined) throw new AppError('not_found', 'Approval not found')
  if (approval.approved === approved)
    return { run: runRow(run), publications: run.status === 'paused' ? [] : unclaimed(db, tables) }
  if (approval.answered_at !== null)
    throw new AppError(
      'already_answered',
      approval.approved ? 'This call was allowed before' : 'This call was denied before',
    )
  if (run.status !== 'waiting_user' && run.status !== 'paused')
    throw new AppError('invalid_state', `Cannot answer an approval of a run in status: ${run.status}`)
  approval.answered_at = db.now()
  approval.approved = approved
  approval.reason = approved || !message ? null : message
  const { step_id, tool_name } = stepOf(steps, approval.step_number)
  const lines: NewLine[] = [
    {
      log_type: 'info',
      message: `${approved ? 'Allowed' : 'Denied'}: ${tool_name}`,
      event: 'approval',
      step_id,
      data: { approval_id, approved },
    },
  ]
  const isLast = openApprovals(tables).length === 0
  if (isLast && run.status === 'waiting_user') {
    const publications = continueRun(db, tables, 'executing', lines)
    return { run: runRow(run), publications }
  }
  addLogs(db, tables, lines)
  if (isLast) {
    // paused meanwhile: a resume goes on with the work, and no longer to the question
    run.paused_from = 'executing'
    forgetQuestion(tables)
    commitDenied(db, tables)
  }
  return { run: runRow(run), publications: [] }
}
