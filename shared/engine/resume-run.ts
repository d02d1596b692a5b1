import type { Caller } from '../ports/identity.ts'
import type { RunAnswer } from '../ports/store.ts'
import { type FrontPorts, principalOf, spread } from './create-run.ts'

/** Lets a paused or waiting run go on; the input becomes a user message. */
export async function resumeRun(
  ports: FrontPorts,
  caller: Caller,
  { run_id, user_input }: { run_id: string; user_input: string | null },
): Promise<RunAnswer> {
  const answer = await ports.store.resumeRun({ principal: principalOf(caller), run_id, user_input })
  await spread(ports, answer)
  return answer
}
