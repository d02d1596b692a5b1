/** Requests of the window before this one and of this one. */
export interface Counted {
  previous: number
  current: number
}

/**
 * Milliseconds until one more request fits below `limit` a window, 0: it fits now. The window slides: of the one before, the share
 * that the sliding window still covers counts, taken as spread evenly.
 */
export function waitMs(
  { previous, current }: Counted,
  { limit, windowMs, elapsedMs }: { limit: number; windowMs: number; elapsedMs: number },
): number {
  const room = limit - 1
  if (current > room) {
    // nothing before the next window, where this one is the one before
    const share = room <= 0 ? 1 : 1 - room / current
    return windowMs - elapsedMs + Math.ceil(windowMs * share)
  }
  if (previous * (1 - elapsedMs / windowMs) + current <= room) return 0
  return Math.max(1, Math.ceil(windowMs * (1 - (room - current) / previous) - elapsedMs))
}
