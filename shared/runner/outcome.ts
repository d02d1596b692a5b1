import type { JobOutcome } from '../contract/job.ts'

/** Whether an abort's reason is an outcome: why a tool was stopped. */
export function isOutcome(value: unknown): value is JobOutcome {
  return typeof value === 'object' && value !== null && 'kind' in value
}
