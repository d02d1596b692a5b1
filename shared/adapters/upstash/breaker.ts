export interface Breaker {
  /** True while calls are not even tried. */
  readonly isOpen: boolean
  succeeded(): void
  /** Opens. Answers true when it was closed before: the moment to say so in the log. */
  failed(): boolean
}

/** After a failure nothing is tried for a while, so that a dead server costs one timeout and not one a call. */
export function createBreaker(options: { openMs: number; now: () => number }): Breaker {
  let openUntilMs = 0
  let healthy = true
  return {
    get isOpen() {
      return options.now() < openUntilMs
    },
    succeeded() {
      healthy = true
      openUntilMs = 0
    },
    failed() {
      const first = healthy
      healthy = false
      openUntilMs = options.now() + options.openMs
      return first
    },
  }
}
