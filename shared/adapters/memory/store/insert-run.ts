import { AppError } from '../../../core/errors.ts'
import { WRITES_PROTOCOL } from '../../../core/protocol.ts'
import { modelStep } from '../../../core/steps.ts'
import type { Publication } from '../../../ports/scheduler.ts'
import type { CreateRun } from '../../../ports/store.ts'
import { checkOpenRuns } from './check-open-runs.ts'
import { addLogs, runEvent } from './logs.ts'
import { addMessages } from './messages.ts'
import { keepBlobs } from './objects.ts'
import { addSteps } from './steps.ts'
import { DAY, type Database, type RunTables, SECOND } from './tables.ts'

export type RunFields = Omit<CreateRun, 'principal' | 'opening_credits' | 'idempotency'>

/** private.insert_run: a new run with its first step. */
export function insertRun(
  db: Database,
  { userId, tenantId }: { userId: string; tenantId: string },
  fields: RunFields,
): { tables: RunTables; publications: Publication[] } {
  checkOpenRuns(db, { userId, tenantId }, fields.limits)
  const now = db.now()
  const id = db.newId()
  const starts = fields.auto_start
  const { max_steps, timeout_seconds } = fields.limits
  const timeoutAt = now + timeout_seconds * SECOND
  const tables: RunTables = {
    run: {
      id,
      user_id: userId,
      tenant_id: tenantId,
      project_id: fields.project_id,
      prompt: fields.prompt,
      mode: fields.mode,
      config: { limits: fields.limits, memory_context: fields.memory_context },
      status: starts ? 'queued' : 'created',
      plan: null,
      plan_version: 0,
      current_phase: 0,
      current_step_id: null,
      total_steps: 0,
      completed_steps: 0,
      failed_steps: 0,
      total_tokens_used: 0,
      credits_used_units: 0,
      estimated_credits: null,
      created_at: now,
      started_at: null,
      completed_at: null,
      timeout_at: starts ? timeoutAt : null,
      error_message: null,
      error_code: null,
      metadata: fields.metadata,
      tags: fields.tags,
      connector_ids: [...new Set(fields.connector_ids)],
      epoch: 0,
      next_step: 0,
      log_seq: 0,
      last_log_at: Number.NEGATIVE_INFINITY,
      message_count: 0,
      file_count: fields.files.length,
      byte_count: fields.files.reduce((sum, { size }) => sum + size, 0),
      group_open: 0,
      protocol: WRITES_PROTOCOL,
      max_steps,
      timeout_seconds,
      paused_from: null,
      held_at: null,
      deadline_at: starts ? timeoutAt : now + DAY,
    },
    steps: [],
    queue: new Map(),
    waits: new Map(),
    approvals: new Map(),
    messages: [],
    artifacts: [],
    logs: [],
    files: fields.files.map((file) => ({ ...file, from_step: -1, to_step: null })),
    ledger: [],
  }
  const listed = new Map(db.tables.objectsToRemove)
  keepBlobs(
    db.tables,
    userId,
    fields.files.map(({ sha256 }) => sha256),
  )
  const publications = starts ? addSteps(db, tables, [modelStep('plan', 0)], now) : []
  if (publications === null) {
    db.tables.objectsToRemove = listed
    throw new AppError('insufficient_credits', 'Insufficient credits')
  }
  addMessages(db, tables, { stepNumber: 0, stepId: null }, [
    { role: 'user', content: fields.prompt, attachments: fields.attachments },
  ])
  addLogs(db, tables, [
    runEvent(tables.run.status, 0, 0),
    ...fields.warnings.map((message) => ({ log_type: 'warning' as const, message, event: 'warning' })),
  ])
  db.tables.runs.set(id, tables)
  return { tables, publications }
}
