import { creditUnits } from '../../../core/costs.ts'
import { AppError } from '../../../core/errors.ts'
import type { CreateAnswer, CreateRun } from '../../../ports/store.ts'
import { openAccount } from './credits.ts'
import { insertRun, type RunFields } from './insert-run.ts'
import { runRow } from './rows.ts'
import { unclaimed } from './steps.ts'
import { DAY, type Database, type RunTables } from './tables.ts'

type Key = CreateRun['idempotency']

/** An earlier create under the same key, if it is younger than 24 hours; another body is a conflict, and so is a run that was deleted. */
export function replay(db: Database, userId: string, idempotency: Key): CreateAnswer | null {
  if (idempotency === null) return null
  const { idempotency: keys, runs } = db.tables
  const name = JSON.stringify([userId, idempotency.key])
  const known = keys.get(name)
  if (known !== undefined && known.created_at < db.now() - DAY) keys.delete(name)
  const standing = keys.get(name)
  if (standing === undefined) return null
  if (standing.body_sha256 !== idempotency.body_sha256)
    throw new AppError('idempotency_conflict', 'This Idempotency-Key was used with another body')
  const tables = runs.get(standing.run_id)
  if (tables === undefined)
    throw new AppError(
      'idempotency_conflict',
      'The run of this Idempotency-Key was deleted: use a new key for a new run',
    )
  return answerOf(db, tables, { replayed: true })
}

export function createOnce(
  db: Database,
  who: { userId: string; tenantId: string },
  { idempotency, opening_credits, ...fields }: RunFields & { idempotency: Key; opening_credits: number },
): CreateAnswer {
  const earlier = replay(db, who.userId, idempotency)
  if (earlier !== null) return earlier
  const hadAccount = db.tables.balances.has(who.userId)
  openAccount(db, who.userId, creditUnits(opening_credits))
  let made: ReturnType<typeof insertRun>
  try {
    made = insertRun(db, who, fields)
  } catch (error) {
    if (!hadAccount) db.tables.balances.delete(who.userId)
    throw error
  }
  rememberKey(db, who.userId, idempotency, made.tables.run.id)
  return { run: runRow(made.tables.run), publications: made.publications, replayed: false }
}

export function rememberKey(db: Database, userId: string, idempotency: Key, runId: string): void {
  if (idempotency === null) return
  db.tables.idempotency.set(JSON.stringify([userId, idempotency.key]), {
    body_sha256: idempotency.body_sha256,
    run_id: runId,
    created_at: db.now(),
  })
}

export function answerOf(db: Database, tables: RunTables, { replayed }: { replayed: boolean }): CreateAnswer {
  return { run: runRow(tables.run), publications: unclaimed(db, tables), replayed }
}
