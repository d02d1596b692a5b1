import type { FinalStatus, RunStatus } from './types.ts'

/** True when nothing will happen to a run of this status any more. */
export function isFinal(status: RunStatus): status is FinalStatus {
  return status === 'completed' || status === 'failed' || status === 'cancelled' || status === 'timeout'
}
