import type { LogsRequest } from '../contract/logs.ts'
import type { Caller } from '../ports/identity.ts'
import type { FrontStore, LogPage } from '../ports/store.ts'
import { principalOf } from './create-run.ts'

/** One page of a run's log, oldest first. */
export function readLogs(
  { store }: { store: FrontStore },
  caller: Caller,
  { run_id, after, limit }: LogsRequest,
): Promise<LogPage> {
  return store.readLogs({
    principal: principalOf(caller),
    run_id,
    after_seq: after.seq,
    after_time: after.time,
    limit,
  })
}
