import { cancelFlag, watchFlag } from '../contract/live.ts'
import type { Cache } from '../ports/cache.ts'
import type { Caller } from '../ports/identity.ts'
import type { RunAnswer } from '../ports/store.ts'
import { announce } from './announce.ts'
import { principalOf } from './create-run.ts'
import type { VerbPorts } from './fork-run.ts'

/** Removes an ended run and what is in it. Bytes that nothing else refers to follow later, by the sweeper. */
export async function deleteRun(
  { store, cache }: VerbPorts,
  caller: Caller,
  run_id: string,
): Promise<RunAnswer> {
  const answer = await store.deleteRun({ principal: principalOf(caller), run_id })
  await forgetRun(cache, run_id)
  return answer
}

/** What the cache has of a run goes too, and open streams of it are told to look: they end. */
export async function forgetRun(cache: Cache, run_id: string): Promise<void> {
  await Promise.all([
    cache.forget([cancelFlag(run_id), watchFlag(run_id)]),
    announce(cache, run_id, { t: 'rows' }),
  ])
}
