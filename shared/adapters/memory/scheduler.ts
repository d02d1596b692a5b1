import { AppError } from '../../core/errors.ts'
import type { Publication, Scheduler } from '../../ports/scheduler.ts'

export interface MemoryScheduler extends Scheduler {
  /** What was accepted and not absorbed as a repeat, in order. */
  readonly published: Publication[]
  /** Repeats that were absorbed. */
  readonly deduplicated: Publication[]
  /** The next n calls reject; with `accepting` they are accepted first, as when only the answer is lost. */
  failNext(calls: number, how?: { accepting?: boolean }): void
}

/** For how long an id is remembered: QStash's documented ten minutes. */
const WINDOW_MS = 600_000

/** Records publications instead of delivering them: the twin that tests run on. */
export function createMemoryScheduler(options: { now?: () => number } = {}): MemoryScheduler {
  const now = options.now ?? Date.now
  const seen = new Map<string, number>()
  const published: Publication[] = []
  const deduplicated: Publication[] = []
  let failures = 0
  let acceptsWhenFailing = false

  const accept = (publication: Publication) => {
    const { run_id, step_number, epoch, publication: number } = publication
    const id = [run_id, step_number, epoch, number].join('_')
    if ((seen.get(id) ?? 0) > now()) deduplicated.push(publication)
    else {
      seen.set(id, now() + WINDOW_MS)
      published.push(publication)
    }
  }

  return {
    published,
    deduplicated,
    failNext(calls, { accepting = false } = {}) {
      failures = calls
      acceptsWhenFailing = accepting
    },
    publish(publications) {
      const fails = failures > 0 && publications.length > 0
      if (fails) failures -= 1
      if (!fails || acceptsWhenFailing) for (const publication of publications) accept(publication)
      return fails
        ? Promise.reject(new AppError('unavailable', 'The scheduler did not accept the message.'))
        : Promise.resolve()
    },
  }
}
