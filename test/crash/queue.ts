import type { Publication, Scheduler } from '../../shared/ports/scheduler.ts'

export interface QueuedMessage {
  run_id: string
  step_number: number
  /** World seconds. */
  dueAt: number
  deliveries: number
}

/** After so many failed deliveries a message is a dead letter, as with QStash. */
const MAX_DELIVERIES = 6
const RETRY_SECONDS = 5

/** QStash as the engine sees it: at least once, with delays, deduplication by id, a few repeats, and then silence. */
export class Queue implements Scheduler {
  readonly #seen = new Set<string>()
  readonly #messages: QueuedMessage[] = []
  readonly #now: () => number
  readonly #repeats: boolean

  /** `repeats` false: a delivery that failed is never repeated, so that only the sweeper is left. */
  constructor(now: () => number, repeats: boolean) {
    this.#now = now
    this.#repeats = repeats
  }

  publish(publications: readonly Publication[]): Promise<void> {
    for (const { run_id, step_number, epoch, publication, delay_seconds } of publications) {
      const id = `${run_id}_${step_number}_${epoch}_${publication}`
      if (this.#seen.has(id)) continue
      this.#seen.add(id)
      this.#messages.push({ run_id, step_number, dueAt: this.#now() + delay_seconds, deliveries: 0 })
    }
    return Promise.resolve()
  }

  /** Takes the message that is due first. */
  take(): QueuedMessage | undefined {
    const index = this.#messages.findIndex(({ dueAt }) => dueAt <= this.#now())
    return index < 0 ? undefined : this.#messages.splice(index, 1)[0]
  }

  /** A delivery that was not answered with 2xx. */
  failed(message: QueuedMessage, retryAfterSeconds = RETRY_SECONDS): void {
    if (!this.#repeats || message.deliveries + 1 >= MAX_DELIVERIES) return
    this.#messages.push({
      ...message,
      deliveries: message.deliveries + 1,
      dueAt: this.#now() + retryAfterSeconds,
    })
  }

  /** Seconds until the next message is due; undefined when there is none. */
  nextIn(): number | undefined {
    const [first] = this.#messages.map(({ dueAt }) => dueAt - this.#now()).sort((a, b) => a - b)
    return first
  }
}
