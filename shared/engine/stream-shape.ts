import type { LiveMessage } from '../contract/live.ts'
import type { RunRow } from '../contract/rows.ts'
import type { StoredEvent } from '../ports/store.ts'

/** How one kind of stream writes what happens. Texts are whole SSE frames; empty when there is nothing to say. */
export interface StreamShape {
  opening(): string
  /** Frames of a stored row from part `skip` on. `end`: the row ends the run. */
  event(event: StoredEvent, run: RunRow, skip: number): { text: string; end: boolean }
  live(messages: readonly LiveMessage[]): string
  /** The end of a run whose log does not tell it. */
  impliedEnd(run: RunRow): string
  expired(): string
  /** The stream ends though its run and its reader's token do not: the reader is to come back with its last id. */
  interrupted(reason: 'time_limit' | 'shutdown'): string
  failed(message: string): string
  heartbeat(): string
}

/** Every frame of a row has an id: `<seq>.<part>`, and `<seq>` for the last, after which the row is done. */
export function frameId(seq: number, part: number, parts: number): string {
  return part === parts ? String(seq) : `${seq}.${part}`
}
