import type { Caller } from '../ports/identity.ts'
import type { RunAnswer } from '../ports/store.ts'
import { type FrontPorts, principalOf, spread } from './create-run.ts'

/** The step in flight finishes, then the run holds. */
export async function pauseRun(ports: FrontPorts, caller: Caller, run_id: string): Promise<RunAnswer> {
  const answer = await ports.store.pauseRun({ principal: principalOf(caller), run_id })
  await spread(ports, answer)
  return answer
}
