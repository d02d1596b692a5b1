/** Seconds before the next attempt after a fault of a provider: doubling, at most a minute. */
export function backoffSeconds(attempt: number): number {
  return Math.min(60, 2 ** Math.max(1, attempt))
}
