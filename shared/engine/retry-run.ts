import type { Caller } from '../ports/identity.ts'
import type { CreateAnswer } from '../ports/store.ts'
import { type CreateOptions, type FrontPorts, principalOf } from './create-run.ts'
import { publishBestEffort } from './publish-best-effort.ts'

/** A new run with the prompt, mode, project and connectors of one that did not complete. */
export async function retryRun(
  ports: FrontPorts,
  caller: Caller,
  run_id: string,
  { limits, openingCredits, idempotency }: CreateOptions,
): Promise<CreateAnswer> {
  const answer = await ports.store.retryRun({
    principal: principalOf(caller),
    run_id,
    limits,
    opening_credits: openingCredits,
    idempotency,
  })
  if (!answer.replayed)
    await publishBestEffort(ports.scheduler, answer.publications, { log: ports.log, runId: answer.run.id })
  return answer
}
