import { AppError } from '../../shared/core/errors.ts'
import type { Advance } from '../../shared/engine/advance-run.ts'
import type { Publication, Scheduler } from '../../shared/ports/scheduler.ts'
import { callPort, type Surroundings } from './call-port.ts'
import type { Process } from './kernel.ts'

/** As configured in shared/config/scheduler-options.ts, and QStash's documented window. */
const RETRIES = 5
const WINDOW_MS = 600_000
const TIMEOUT_MS = 295_000

type Deliver = (process: Process, message: { run_id: string; step_number: number }) => Promise<Advance>

interface Message {
  run_id: string
  step_number: number
  retried: number
}

/** QStash: at least once, in no order, with its own retries, deduplication and dead letters. */
export class SimScheduler {
  readonly #around: Surroundings
  readonly #deliver: Deliver
  readonly #seen = new Map<string, number>()

  constructor(around: Surroundings, deliver: Deliver) {
    this.#around = around
    this.#deliver = deliver
  }

  for(process: Process): Scheduler {
    const { faults, random } = this.#around
    return {
      publish: async (publications) => {
        if (publications.length === 0) return
        await callPort(
          this.#around,
          process,
          'scheduler.publish',
          () => {
            if (publications.length > 1 && faults.strikes('publish.partly_accepted')) {
              for (const each of publications.slice(0, random.between(1, publications.length - 1)))
                this.#accept(each)
              throw new AppError('unavailable', 'not every message was accepted')
            }
            for (const each of publications) this.#accept(each)
          },
          { rejected: 'publish.rejected', doneButTimeout: 'publish.accepted_but_timeout' },
        )
      },
    }
  }

  #accept({ run_id, step_number, epoch, publication, delay_seconds }: Publication): void {
    const { kernel, faults, random } = this.#around
    const id = [run_id, step_number, epoch, publication].join('_')
    if ((this.#seen.get(id) ?? 0) > kernel.now_ms) {
      faults.happened('delivery.deduplicated')
      return
    }
    this.#seen.set(id, kernel.now_ms + WINDOW_MS)
    if (faults.strikes('delivery.lost')) return
    const message = { run_id, step_number, retried: 0 }
    let delay_ms = delay_seconds * 1000 + random.between(1, 30)
    if (faults.strikes('delivery.shuffled')) delay_ms += random.between(0, 30_000)
    if (faults.strikes('delivery.late', 0.5)) delay_ms += random.between(60_000, 900_000)
    kernel.after(delay_ms, () => this.#attempt(message))
    if (faults.strikes('delivery.duplicate'))
      kernel.after(delay_ms + random.between(0, random.chance(0.5) ? 100 : 600_000), () =>
        this.#attempt(message),
      )
  }

  #attempt(message: Message): void {
    const { kernel, faults, random } = this.#around
    const process = kernel.spawn(`step ${message.step_number} of ${message.run_id}`)
    let open = true
    const close = (retry_after_ms: number | undefined) => {
      if (!open) return
      open = false
      process.onDeath = undefined
      timeout.cancelled = true
      if (retry_after_ms === undefined) return
      if (message.retried === RETRIES) {
        faults.happened('delivery.dead_letter')
        return
      }
      const next = { ...message, retried: message.retried + 1 }
      kernel.after(retry_after_ms, () => this.#attempt(next))
    }
    const pause_ms = Math.min(30_000, 1000 * 2 ** message.retried)
    // a connection that is cut: the broker tries again while the invocation goes on
    const cut = faults.strikes('delivery.timeout')
    const timeout = kernel.after(cut ? random.between(10, 10_000) : TIMEOUT_MS, () => close(pause_ms))
    process.onDeath = () => close(pause_ms)
    const { run_id, step_number } = message
    kernel
      .as(process, () => this.#deliver(process, { run_id, step_number }))
      .then(
        (advance) => {
          kernel.note('delivered', step_number, advance.outcome)
          close(advance.outcome === 'leased' ? advance.retryAfterSeconds * 1000 : undefined)
        },
        (error: unknown) => {
          if (!(error instanceof AppError)) {
            this.#around.broken(
              'only known errors',
              error instanceof Error ? (error.stack ?? error.message) : String(error),
            )
          }
          close(
            error instanceof AppError && error.retryAfterSeconds ? error.retryAfterSeconds * 1000 : pause_ms,
          )
        },
      )
  }
}
