import { AppError } from '../../../core/errors.ts'
import { isFinal } from '../../../core/run.ts'
import { modelStep } from '../../../core/steps.ts'
import type { Publication } from '../../../ports/scheduler.ts'
import type { CancelAnswer, RunAnswer } from '../../../ports/store.ts'
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
  const { run, steps, queue, waits } = tables
  if (run.status !== 'waiting_user' && run.status !== 'paused') throw badState('resume', tables)
  const now = db.now()
  const from = run.status
  const text = input ?? ''
  let to = from === 'paused' ? (run.paused_from ?? 'executing') : 'executing'
  // a question is answered by input; resuming a pause without any goes back to waiting for it
  if (to === 'waiting_user' && text !== '') {
    to = 'executing'
    setStatus(run, 'waiting_user')
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
  setStatus(run, to)
  if (run.timeout_at !== null) run.timeout_at += now - (run.held_at ?? now)
  run.paused_from = null
  const publications: Publication[] = []
  // what was held so far has been added to its time
  if (to === 'waiting_user') run.held_at = now
  else {
    for (const [number, { kind }] of waits) if (kind === 'user') waits.delete(number)
    run.held_at = null
    run.deadline_at = run.timeout_at
    for (const queued of [...queue.values()].sort((a, b) => a.step_number - b.step_number)) {
      if (!isIdle(db, tables, queued.step_number)) continue
      queued.due_at = Math.min(queued.due_at, now)
      queued.publication += 1
      queued.publish_at = now + 20 * SECOND
      publications.push(publicationOf(db, tables, queued))
    }
  }
  addLogs(db, tables, [...lines, runEvent(to, run.current_phase, phases(tables))])
  return { run: runRow(run), publications }
}
