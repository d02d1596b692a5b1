import type { Caller } from '../ports/identity.ts'
import type { RunAnswer } from '../ports/store.ts'
import { principalOf } from './create-run.ts'
import type { VerbPorts } from './fork-run.ts'

/** Removes an ended run and what is in it. Bytes that nothing else refers to follow later, by the sweeper. */
export function deleteRun({ store }: VerbPorts, caller: Caller, run_id: string): Promise<RunAnswer> {
  return store.deleteRun({ principal: principalOf(caller), run_id })
}
