import type { Principal } from '../ports/identity.ts'
import type { FrontStore } from '../ports/store.ts'

/** Number of the last row of a run's log that is not after a time. */
export async function positionSince(
  store: FrontStore,
  principal: Principal,
  run_id: string,
  time: string,
): Promise<number> {
  const { logs } = await store.readLogs({ principal, run_id, after_seq: null, after_time: time, limit: 1 })
  const next = logs.at(0)
  if (next !== undefined) return next.seq - 1
  const newest = await store.readRun({
    principal,
    run_id,
    steps: null,
    messages: null,
    artifacts: null,
    logs: { limit: 1 },
  })
  return newest.logs.at(-1)?.seq ?? 0
}
