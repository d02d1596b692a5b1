import { randomUUID } from 'node:crypto'
import { AppError } from '../../../core/errors.ts'
import { storableJson } from '../../../core/storable-json.ts'
import type { FrontStore, ObjectStore, StepStore, VerbStore } from '../../../ports/store.ts'
import { frontFunctions } from './front-functions.ts'
import { stepFunctions } from './step-functions.ts'
import { sweep } from './sweep.ts'
import { type Database, emptyTables, type Tables } from './tables.ts'
import { type BrokenInvariant, violations } from './violations.ts'

export interface MemoryStore {
  front: FrontStore & VerbStore
  step: StepStore & ObjectStore
  /** The state itself, for tests that look at it or damage it. */
  tables: Tables
  /** One pass of the sweeper inside the database. */
  sweep(): { ended: number; settled: number; due: number }
  violations(): BrokenInvariant[]
}

/** What the stores' arguments may hold on top of a model's own value, as in the adapters of the real database. */
const OWN_DEPTH = -16

/**
 * FrontStore and StepStore over one state in memory: the twin of supabase/migrations, with its refusals, which passes the same port
 * suite. `now` is the database's clock in milliseconds, `newId` draws its uuids.
 */
export function createMemoryStore({
  now = Date.now,
  newId = randomUUID,
}: {
  now?: () => number
  newId?: () => string
} = {}): MemoryStore {
  const tables = emptyTables()
  // A call sees one time, later than every call before it: Postgres counts microseconds, and so no two rows are made at once.
  let time = 0
  const db: Database = { tables, newId, now: () => time }
  const begin = () => {
    time = Math.max(Math.round(now() * 1000), time + 1)
  }
  const ready = () => Promise.resolve()
  const front = { ...asPort(frontFunctions(db), begin), ready }
  const step = { ...asPort(stepFunctions(db), begin), ready }
  return {
    front,
    step,
    tables,
    sweep() {
      begin()
      return sweep(db)
    },
    violations() {
      begin()
      return violations(tables, time)
    },
  }
}

type Functions<T> = {
  [Name in keyof T]: T[Name] extends (input: infer I) => infer O ? (input: I) => Promise<Awaited<O>> : never
}

/** Functions as methods of a port: arguments are copied, answers and refusals come as promises. */
function asPort<T extends Record<string, (input: never) => unknown>>(
  functions: T,
  begin: () => void,
): Functions<T> {
  const port = Object.entries(functions).map(([name, call]) => [
    name,
    (input: unknown) =>
      new Promise((resolve) => {
        const copy = storableJson(input, OWN_DEPTH)
        if (copy === undefined) throw new AppError('invalid_request', 'The value is nested too deeply')
        begin()
        resolve((call as (input: unknown) => unknown)(copy))
      }),
  ])
  return Object.fromEntries(port) as Functions<T>
}
