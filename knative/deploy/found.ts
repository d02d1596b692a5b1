import type { Values } from './secret-table.ts'

export type Settings = Readonly<Record<string, string | undefined>>

export interface CheckContext {
  settings: Settings
  /** What is known so far: a token is asked about with the key that goes before it. */
  values: Values
}

/** Neither: it is right. Never repeats a value. */
export interface Found {
  problem?: string
  note?: string
}
