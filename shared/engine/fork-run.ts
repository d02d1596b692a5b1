import type { Caller } from '../ports/identity.ts'
import type { CreateAnswer, VerbStore } from '../ports/store.ts'
import { type CreateOptions, type FrontPorts, principalOf } from './create-run.ts'
import { publishBestEffort } from './publish-best-effort.ts'

export type VerbPorts = FrontPorts & { store: VerbStore }

/** A new run that goes on from a step of another: what came before is shared, the step and all after it are done anew. */
export async function forkRun(
  { store, scheduler, log }: VerbPorts,
  caller: Caller,
  fork: { run_id: string; from_step: number; message: string | null },
  { limits, idempotency }: Omit<CreateOptions, 'openingCredits'>,
): Promise<CreateAnswer> {
  const answer = await store.forkRun({ principal: principalOf(caller), ...fork, limits, idempotency })
  if (!answer.replayed) await publishBestEffort(scheduler, answer.publications, { log, runId: answer.run.id })
  return answer
}
