import type { Publication } from '../../../ports/scheduler.ts'
import type { StoredObject } from '../../../ports/store.ts'
import { settleStep } from './credits.ts'
import { finishRun } from './finish-run.ts'
import { handOutOnce } from './hand-out-once.ts'
import { handOutObjects, sweepObjects } from './objects.ts'
import { passSlot } from './slots.ts'
import { publicationOf } from './steps.ts'
import { DAY, type Database, type Queued, type RunTables, SECOND } from './tables.ts'

const MAX_A_CALL = 200
const MAX_LOOKED_AT = 1000

const ENDS: Readonly<Record<string, string>> = {
  created: 'The run was not started within 24 hours.',
  waiting_user: 'The run waited 30 days for an answer.',
  paused: 'The run was paused for 30 days.',
}

/** agent_sweep: ends what is past its deadline, settles attempts that were in flight when their run ended, forgets what has expired. */
export function sweep(db: Database): { ended: number; settled: number; due: number } {
  const { tables } = db
  const now = db.now()
  const runs = [...tables.runs.values()]
  const late = runs
    .filter(({ run }) => run.deadline_at !== null && run.deadline_at <= now)
    .sort((a, b) => (a.run.deadline_at ?? 0) - (b.run.deadline_at ?? 0))
    .slice(0, MAX_A_CALL)
  for (const each of late) {
    const message = ENDS[each.run.status] ?? 'The run reached its time limit.'
    finishRun(db, each, { status: 'timeout', code: 'RUN_TIMEOUT', message, result: null })
  }
  let settled = 0
  for (const each of runs) {
    for (const step of each.steps) {
      if (step.state !== 'settling' || (step.lease_until ?? 0) > now || settled === MAX_A_CALL) continue
      const charged = settleStep(db, each, step.step_number, true)
      step.state = 'done'
      step.token = null
      step.lease_until = null
      step.credits_used_units = charged
      each.run.credits_used_units += charged
      settled += 1
    }
  }
  // what a pause holds keeps no place
  for (const each of runs)
    for (const queued of each.queue.values())
      if (queued.slot !== null && queued.publish_at === null) {
        const { slot } = queued
        queued.slot = null
        passSlot(db, each, slot)
      }
  for (const [key, { created_at }] of tables.idempotency)
    if (created_at < now - DAY) tables.idempotency.delete(key)
  for (const [ticket, { expires_at }] of tables.tickets) if (expires_at < now) tables.tickets.delete(ticket)
  const steps = Math.min(MAX_LOOKED_AT, dueNow(runs, now).length)
  const jobs = Math.min(MAX_LOOKED_AT, jobsDue(db, now).length)
  return { ended: late.length, settled, due: steps + jobs + sweepObjects(db, now) }
}

function jobsDue(
  { tables }: Database,
  now: number,
): { name: string; requested_at: number; again: boolean }[] {
  return [...tables.jobsToRemove].flatMap(([name, { requested_at, handed_out }]) =>
    requested_at <= now ? [{ name, requested_at, again: handed_out }] : [],
  )
}

function dueNow(
  runs: readonly RunTables[],
  now: number,
): { tables: RunTables; queued: Queued; at: number }[] {
  return runs.flatMap((tables) =>
    [...tables.queue.values()].flatMap((queued) =>
      queued.publish_at !== null && queued.publish_at <= now
        ? [{ tables, queued, at: queued.publish_at }]
        : [],
    ),
  )
}

/** agent_sweep_due: what is due and unclaimed with its publication raised, fairly across tenants, and the jobs and objects to remove. */
export function sweepDue(
  db: Database,
  limit: number,
): { publications: Publication[]; jobs_to_remove: string[]; objects_to_remove: StoredObject[] } {
  sweep(db)
  const now = db.now()
  const turns = new Map<string, number>()
  const chosen = dueNow([...db.tables.runs.values()], now)
    .sort((a, b) => a.at - b.at)
    .slice(0, MAX_LOOKED_AT)
    .map((each) => {
      const turn = (turns.get(each.tables.run.tenant_id) ?? 0) + 1
      turns.set(each.tables.run.tenant_id, turn)
      return { ...each, turn }
    })
    .sort((a, b) => a.turn - b.turn || a.at - b.at)
    .slice(0, limit)
  const publications = chosen.map(({ tables, queued }) => {
    queued.publish_at = now + Math.min(300, 20 * 2 ** Math.min(queued.publication, 4)) * SECOND
    queued.publication += 1
    queued.due_at = Math.min(queued.due_at, now)
    return publicationOf(db, tables, queued)
  })
  const jobs = jobsDue(db, now)
    .sort((a, b) => a.requested_at - b.requested_at)
    .slice(0, limit)
  for (const { name, again } of jobs) {
    const listed = db.tables.jobsToRemove.get(name)
    if (again || listed === undefined) db.tables.jobsToRemove.delete(name)
    else handOutOnce(listed, now)
  }
  return {
    publications,
    jobs_to_remove: jobs.map(({ name }) => name),
    objects_to_remove: handOutObjects(db, now, limit),
  }
}
