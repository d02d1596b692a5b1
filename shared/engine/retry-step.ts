import type { Caller } from '../ports/identity.ts'
import type { CreateAnswer } from '../ports/store.ts'
import { type CreateOptions, principalOf, spread } from './create-run.ts'
import type { VerbPorts } from './fork-run.ts'

/**
 * Tries one step again: in place while it has no result (an attempt failed and the next one is waited for), else in a new run that
 * is forked there, because what the step answered is part of everything after it.
 */
export async function retryStep(
  ports: VerbPorts,
  caller: Caller,
  step: { run_id: string; step_number: number },
  { limits, idempotency }: Omit<CreateOptions, 'openingCredits'>,
): Promise<CreateAnswer & { forked: boolean }> {
  const answer = await ports.store.retryStep({ principal: principalOf(caller), ...step, limits, idempotency })
  if (!answer.replayed) await spread(ports, answer)
  return answer
}
