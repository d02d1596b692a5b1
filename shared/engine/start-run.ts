import type { Caller } from '../ports/identity.ts'
import type { RunAnswer } from '../ports/store.ts'
import { type FrontPorts, principalOf, spread } from './create-run.ts'

/** Starts a created run; one that is under way already is answered as it is (create-then-start callers race with the queue). */
export async function startRun(ports: FrontPorts, caller: Caller, run_id: string): Promise<RunAnswer> {
  const answer = await ports.store.startRun({ principal: principalOf(caller), run_id })
  await spread(ports, answer)
  return answer
}
