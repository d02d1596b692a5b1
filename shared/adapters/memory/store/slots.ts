import type { Publication } from '../../../ports/scheduler.ts'
import type { ClaimRefusal, ParallelLimits } from '../../../ports/store.ts'
import { publicationOf } from './steps.ts'
import { type Database, type Queued, type RunTables, SECOND } from './tables.ts'

interface Place {
  tables: RunTables
  queued: Queued
}

function ofTenant(db: Database, tenant: string): Place[] {
  return [...db.tables.runs.values()]
    .filter(({ run }) => run.tenant_id === tenant)
    .flatMap((tables) => [...tables.queue.values()].map((queued) => ({ tables, queued })))
}

/** Who stands in a tenant's line, first come first. */
function line(db: Database, tenant: string): Place[] {
  return ofTenant(db, tenant)
    .filter(({ queued }) => queued.waits === 'tenant' && queued.publish_at !== null)
    .sort((a, b) => a.queued.waiting_since - b.queued.waiting_since)
}

/** private.pass_slot: the run's next call enters the tenant's line, and the line's first one gets the place. */
export function passSlot(db: Database, { run, queue }: RunTables, slot: number | null): void {
  const [next] = [...queue.values()]
    .filter(({ waits }) => waits === 'run')
    .sort((a, b) => a.step_number - b.step_number)
  if (next !== undefined) {
    next.waits = 'tenant'
    next.waiting_since = db.now()
  }
  if (slot !== null) give(db, run.tenant_id, slot)
}

function give(db: Database, tenant: string, slot: number): void {
  const [first] = line(db, tenant)
  if (first === undefined) return
  first.queued.slot = slot
  first.queued.waits = 'called'
  first.queued.publication += 1
  first.queued.due_at = db.now()
  first.queued.publish_at = db.now()
}

/** Takes a row off the queue, and with it its place. */
export function dequeue(db: Database, tables: RunTables, stepNumber: number): void {
  const queued = tables.queue.get(stepNumber)
  tables.queue.delete(stepNumber)
  if (queued !== undefined) passOn(db, tables, queued)
}

/** The trigger slot_freed: whose row is gone. */
export function passOn(db: Database, tables: RunTables, { slot, waits }: Queued): void {
  if (slot !== null || waits === 'tenant') passSlot(db, tables, slot)
}

/** private.called_up: publications of those that were given a place and that nobody has published yet. */
export function calledUp(db: Database, tenant: string): Publication[] {
  const now = db.now()
  return ofTenant(db, tenant)
    .filter(
      ({ queued }) => queued.waits === 'called' && queued.publish_at !== null && queued.publish_at <= now,
    )
    .sort((a, b) => a.queued.waiting_since - b.queued.waiting_since)
    .slice(0, 100)
    .map(({ tables, queued }) => {
      queued.publish_at = now + 20 * SECOND
      return publicationOf(db, tables, queued)
    })
}

/** private.leave_slot: a step that is not worked on for now leaves its place or the line. */
export function leaveSlot(db: Database, tables: RunTables, queued: Queued): Publication[] {
  const { slot, waits } = queued
  queued.slot = null
  queued.waits = null
  if (slot === null && waits !== 'tenant') return []
  passSlot(db, tables, slot)
  return calledUp(db, tables.run.tenant_id)
}

/** private.take_slot: takes a place for a call, or answers that it waits. */
export function takeSlot(
  db: Database,
  tables: RunTables,
  queued: Queued,
  parallel: ParallelLimits,
): ClaimRefusal | undefined {
  const tenant = tables.run.tenant_id
  const now = db.now()
  const since = queued.waits === 'tenant' ? queued.waiting_since : undefined
  const admitted = [...tables.queue.values()].filter(
    ({ slot, waits }) => slot !== null || waits === 'tenant',
  ).length
  if (since === undefined && admitted >= parallel.run) {
    queued.waits = 'run'
    queued.publish_at = now + 60 * SECOND
    return { refused: 'busy', publications: [] }
  }
  const taken = new Set(ofTenant(db, tenant).map((place) => place.queued.slot))
  for (let slot = 1; slot <= parallel.tenant; slot++) {
    if (taken.has(slot)) continue
    // a place can be free while somebody waits, as when the limit was raised: they come first
    const [first] = line(db, tenant)
    if (first !== undefined && first.queued !== queued && first.queued.waiting_since < (since ?? now)) {
      give(db, tenant, slot)
      continue
    }
    queued.slot = slot
    queued.waits = null
    return undefined
  }
  const delay = Math.min(60, 2 * 2 ** Math.min(queued.publication, 5)) * SECOND
  queued.waits = 'tenant'
  queued.waiting_since = since ?? now
  queued.publication += 1
  queued.due_at = now + delay
  queued.publish_at = now + delay + 20 * SECOND
  return {
    refused: 'busy',
    publications: [...calledUp(db, tenant), publicationOf(db, tables, queued)],
  }
}
