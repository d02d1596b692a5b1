import type { Reply } from './reply.ts'
import type { Store } from './store.ts'

export interface Command {
  /** Number of arguments after the name; the second null: any more. */
  arity: readonly [number, number | null]
  /** Adds data, so it is refused when memory is full. */
  grows?: boolean
  run(store: Store, args: string[]): Reply
}

export type Commands = Record<string, Command>
