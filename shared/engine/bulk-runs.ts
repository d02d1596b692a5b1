import { cancelFlag } from '../contract/live.ts'
import type { BulkVerb } from '../core/bulk-verbs.ts'
import type { Caller } from '../ports/identity.ts'
import type { BulkAnswer } from '../ports/store.ts'
import { announce } from './announce.ts'
import { CANCEL_FLAG_SECONDS } from './cancel-run.ts'
import { type CreateOptions, principalOf } from './create-run.ts'
import { forgetRun } from './delete-run.ts'
import type { VerbPorts } from './fork-run.ts'
import { publishBestEffort } from './publish-best-effort.ts'

/** One verb for the runs of a tag: one transaction, then what the verb does for each run that it changed. */
export async function bulkRuns(
  { store, cache, scheduler, log }: VerbPorts,
  caller: Caller,
  { tag, verb }: { tag: string; verb: BulkVerb },
  { limits, openingCredits }: Omit<CreateOptions, 'idempotency'>,
): Promise<BulkAnswer> {
  const principal = principalOf(caller)
  const answer = await store.bulkRuns({ principal, tag, verb, limits, opening_credits: openingCredits })
  const changed = answer.results.flatMap(({ ok, run_id }) => (ok ? [run_id] : []))
  const tell = async (runId: string) => {
    if (verb === 'stop') await cache.setFlag(cancelFlag(runId), CANCEL_FLAG_SECONDS)
    if (verb === 'delete') await forgetRun(cache, runId)
    else if (verb !== 'retry') await announce(cache, runId, { t: verb === 'stop' ? 'cancelled' : 'rows' })
  }
  await Promise.all([
    ...changed.map(tell),
    publishBestEffort(scheduler, answer.publications, { log, runId: changed[0] ?? '' }),
  ])
  return answer
}
