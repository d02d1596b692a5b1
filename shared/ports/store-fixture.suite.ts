import type { FrontStore, ObjectStore, StepStore, VerbStore } from './store.ts'

/** A row of supabase/invariants.sql, or of its twin over the memory store. */
export interface Violation {
  invariant: string
  run_id: string | null
  detail: string
}

/** Both stores over the same state, with what a test must be able to do to that state. */
export interface StoreFixture {
  front: FrontStore & VerbStore
  step: StepStore & ObjectStore
  /** Lets time pass for the store. Postgres: every stored time moves back by so much (test/engine/advance-database.ts). */
  advance(seconds: number): Promise<void>
  /** What breaks an invariant now: supabase/invariants.sql. */
  violations(): Promise<Violation[]>
  /** One pass of the sweeper inside the database (public.agent_sweep), as its timer runs it. */
  sweep(): Promise<{ ended: number; settled: number; due: number }>
  /** A row of the operator's switch; the answer removes it again. */
  switchOff(what: { tenant_id: string | null; tool_name: string | null }): Promise<() => Promise<void>>
  close(): Promise<void>
}
