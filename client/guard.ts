/** A signal that aborts with the caller's, or with `timedOut` when a wait takes too long. */
export interface Guard {
  readonly signal: AbortSignal
  /** From now on so long; again: anew. */
  arm(milliseconds: number): void
  disarm(): void
  /** True when the signal aborted by itself. */
  readonly timedOut: boolean
  /** Aborts whatever is still open and lets go of the caller's signal. */
  end(): void
}

/** By hand, as browsers of 2023 have no AbortSignal.any. */
export function createGuard(outer: AbortSignal | undefined): Guard {
  outer?.throwIfAborted()
  const controller = new AbortController()
  let timer: ReturnType<typeof setTimeout> | undefined
  let timedOut = false
  const follow = () => controller.abort(outer?.reason)
  const disarm = () => clearTimeout(timer)
  outer?.addEventListener('abort', follow)
  return {
    signal: controller.signal,
    arm(milliseconds) {
      disarm()
      timer = setTimeout(() => {
        timedOut = true
        controller.abort()
      }, milliseconds)
    },
    disarm,
    get timedOut() {
      return timedOut
    },
    end() {
      disarm()
      outer?.removeEventListener('abort', follow)
      controller.abort()
    },
  }
}
