import { cancelFlag } from '../contract/live.ts'
import { CANCEL_POLL_MS } from '../core/limits.ts'
import type { Claim } from '../ports/store.ts'
import type { StepDeps } from './step-deps.ts'

export type AbortCause = 'cancelled' | 'lost' | 'deadline'

/** Holds a claim while its step works: renews the lease, watches for cancellation, ends the step at its deadline. */
export interface Lease {
  signal: AbortSignal
  /** Why the signal was aborted; undefined while it was not. */
  cause(): AbortCause | undefined
  release(): void
}

export function holdLease(deps: StepDeps, claim: Claim): Lease {
  const { run_id, step_number, fence, token, lease_seconds } = claim.step
  const controller = new AbortController()
  let cause: AbortCause | undefined
  const abort = (why: AbortCause) => {
    cause ??= why
    controller.abort()
  }
  // A third of the lease: two renewals may fail before it lapses.
  const renewal = setInterval(
    () => {
      deps.store.renewLease({ run_id, step_number, fence, token, lease_seconds }).then(
        ({ held, cancelled }) => {
          if (cancelled) abort('cancelled')
          else if (!held) abort('lost')
        },
        (err: unknown) => deps.log.warn({ run_id, step_number, err }, 'lease not renewed'),
      )
    },
    (lease_seconds * 1000) / 3,
  )
  const poll = setInterval(() => {
    deps.cache.hasFlag(cancelFlag(run_id)).then(
      (cancelled) => {
        if (cancelled) abort('cancelled')
      },
      () => undefined,
    )
  }, CANCEL_POLL_MS)
  const deadline = setTimeout(() => abort('deadline'), deps.settings.stepDeadlineSeconds * 1000)
  return {
    signal: controller.signal,
    cause: () => cause,
    release() {
      clearInterval(renewal)
      clearInterval(poll)
      clearTimeout(deadline)
    },
  }
}
