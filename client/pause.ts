/** Longest pause before a connection is tried again. */
const MAX_PAUSE_MS = 30_000

/** Exponential, with jitter, so that clients that lost the same server do not come back together; never before Retry-After. */
export function backOff(baseMs: number, attempt: number, retryAfter: number | null = null): number {
  const pause = Math.min(baseMs * 2 ** attempt, MAX_PAUSE_MS) * (0.5 + Math.random() / 2)
  return Math.max(pause, (retryAfter ?? 0) * 1000)
}

/** Who waits at the moment, to be woken. */
export type Sleepers = Set<() => void>

/**
 * Waits; less long when woken, or when a browser is online again or shows the page again. Rejects with the reason of the signal.
 */
export function pause(
  milliseconds: number,
  signal: AbortSignal | undefined,
  sleepers: Sleepers,
): Promise<void> {
  const page = globalThis.document
  return new Promise((resolve, reject) => {
    const wake = () => {
      clearTimeout(timer)
      sleepers.delete(wake)
      signal?.removeEventListener('abort', wake)
      page?.removeEventListener('visibilitychange', shown)
      globalThis.removeEventListener?.('online', wake)
      if (signal?.aborted) reject(signal.reason)
      else resolve()
    }
    const shown = () => {
      if (!page.hidden) wake()
    }
    const timer = setTimeout(wake, milliseconds)
    sleepers.add(wake)
    signal?.addEventListener('abort', wake)
    page?.addEventListener('visibilitychange', shown)
    globalThis.addEventListener?.('online', wake)
    if (signal?.aborted) wake()
  })
}
