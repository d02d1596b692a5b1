import type { Database, RunTables } from './tables.ts'

/** Opens a user's account with its first balance, once. */
export function openAccount(db: Database, userId: string, openingUnits: number): void {
  if (db.tables.balances.has(userId)) return
  db.tables.balances.set(userId, { available: openingUnits, used: 0, opening: openingUnits })
}

/** Takes units from what is available; false when there is not enough (then nothing changed). */
export function takeCredit(db: Database, userId: string, units: number): boolean {
  if (units === 0) return true
  const balance = db.tables.balances.get(userId)
  if (balance === undefined || balance.available < units) return false
  balance.available -= units
  return true
}

/** Ends the reservation of one step: charged when it was used, else given back. Once a step. */
export function settleStep(
  db: Database,
  { run, ledger }: RunTables,
  stepNumber: number,
  used: boolean,
): number {
  const lines = ledger.filter(({ step_number }) => step_number === stepNumber)
  const reserved = -(lines.find(({ kind }) => kind === 'reserve')?.available ?? 0)
  if (reserved === 0) return 0
  if (lines.some(({ kind }) => kind !== 'reserve'))
    throw new Error(`duplicate key: step ${stepNumber} was settled before`)
  const balance = db.tables.balances.get(run.user_id)
  if (balance === undefined) throw new Error('a run without an account')
  if (used) {
    ledger.push({ step_number: stepNumber, kind: 'charge', available: 0, used: reserved })
    balance.used += reserved
    return reserved
  }
  ledger.push({ step_number: stepNumber, kind: 'refund', available: reserved, used: 0 })
  balance.available += reserved
  return 0
}

export function usedUnits({ ledger }: RunTables): number {
  return ledger.reduce((sum, { used }) => sum + used, 0)
}
