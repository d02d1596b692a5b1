import type { NewStep } from '../../../core/steps.ts'
import type { Publication } from '../../../ports/scheduler.ts'
import { takeCredit } from './credits.ts'
import { type Database, type Queued, type RunTables, SECOND } from './tables.ts'

/** The publication of a step, as the scheduler wants it. */
export function publicationOf(db: Database, { run }: RunTables, queued: Queued): Publication {
  return {
    run_id: run.id,
    step_number: queued.step_number,
    epoch: queued.epoch,
    publication: queued.publication,
    delay_seconds: Math.max(0, Math.ceil((queued.due_at - db.now()) / SECOND)),
  }
}

/**
 * private.add_steps: consecutive numbers, cost reserved, on the queue. `due` null: not due before a later event (a user's answer, a
 * resume). Null when the credit does not suffice; then nothing changed.
 */
export function addSteps(
  db: Database,
  tables: RunTables,
  added: readonly NewStep[],
  due: number | null,
): Publication[] | null {
  const { run, steps, queue, ledger } = tables
  const cost = added.reduce((sum, { cost_units }) => sum + cost_units, 0)
  if (!takeCredit(db, run.user_id, cost)) return null
  const publications: Publication[] = []
  for (const step of added) {
    const step_number = run.next_step++
    steps.push({
      step_number,
      step_id: db.newId(),
      kind: step.kind,
      tool_call_id: step.tool_call_id,
      state: 'open',
      attempt: 0,
      fence: 0,
      token: null,
      lease_until: null,
      last_error: null,
      phase_number: step.phase_number,
      tool_type: step.tool_type,
      tool_name: step.tool_name,
      tool_input: step.tool_input,
      cost_units: step.cost_units,
      status: 'pending',
      tool_output: null,
      output_text: null,
      tokens_used: 0,
      credits_used_units: 0,
      created_at: db.now(),
      started_at: null,
      completed_at: null,
      duration_ms: null,
      error_message: null,
      error_code: null,
      retry_count: 0,
      idempotency_key: `${run.id}:${step_number}`,
      metadata: {},
    })
    ledger.push({ step_number, kind: 'reserve', available: -step.cost_units, used: 0 })
    const queued: Queued = {
      step_number,
      epoch: run.epoch,
      publication: 0,
      due_at: due ?? Number.POSITIVE_INFINITY,
      publish_at: due === null ? null : due + 20 * SECOND,
      slot: null,
      waits: null,
      waiting_since: 0,
    }
    queue.set(step_number, queued)
    if (due !== null) publications.push(publicationOf(db, tables, queued))
  }
  run.total_steps += added.length
  return publications
}

/** Publications of a run's steps that are due and were never claimed: what a lost publish left behind. */
export function unclaimed(db: Database, tables: RunTables): Publication[] {
  const now = db.now()
  return [...tables.queue.values()]
    .filter(({ step_number, due_at }) => tables.steps[step_number]?.fence === 0 && due_at <= now)
    .sort((a, b) => a.step_number - b.step_number)
    .map((queued) => publicationOf(db, tables, queued))
}
