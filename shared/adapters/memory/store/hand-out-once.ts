import { SECOND } from './tables.ts'

/** The second time comes ten seconds after the first. */
export function handOutOnce(job: { requested_at: number; handed_out: boolean }, now: number): void {
  job.handed_out = true
  job.requested_at = now + 10 * SECOND
}
