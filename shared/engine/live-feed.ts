import type { LiveHub } from './live-hub.ts'

/** What a slow reader may leave unread; beyond it text in between is dropped, which the stored rows replace. */
const MAX_BUFFERED_CHARACTERS = 256 * 1024
/** A hint is short and stays when text does not; but a reader that reads nothing gets no more of them than this. */
const MAX_BUFFERED_MESSAGES = 1000
const HINT_CHARACTERS = 1024

/** What one reader hears of a run, in batches with a bounded wait. */
export class LiveFeed {
  #buffer: string[] = []
  #buffered = 0
  #isLive: boolean = false
  /** Something may have been missed since the last look. */
  #missed: boolean = false
  #wake: (() => void) | undefined

  constructor(hub: LiveHub, runId: string, signal: AbortSignal) {
    signal.addEventListener('abort', () => this.#wake?.(), { once: true })
    hub.listen(
      runId,
      {
        message: (text) => this.#take(text),
        changed: (isLive) => {
          this.#isLive = isLive
          this.#missed = true
          this.#wake?.()
        },
      },
      signal,
    )
  }

  /** True while the subscription stands. */
  get isLive(): boolean {
    return this.#isLive
  }

  /** Whether messages may have been lost since this was asked last: time to look at the rows. */
  takeMissed(): boolean {
    const missed = this.#missed
    this.#missed = false
    return missed
  }

  /** Resolves when the subscription stands, or after the wait. */
  async ready(milliseconds: number): Promise<void> {
    if (!this.#isLive) await this.#sleep(milliseconds)
  }

  /** Messages since the last call; waits for one, or for a change of the subscription, at most so long. */
  async next(milliseconds: number): Promise<string[]> {
    if (this.#buffer.length === 0 && !this.#missed) await this.#sleep(milliseconds)
    const messages = this.#buffer
    this.#buffer = []
    this.#buffered = 0
    return messages
  }

  async #sleep(milliseconds: number): Promise<void> {
    if (milliseconds <= 0) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, milliseconds)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
    this.#wake = undefined
  }

  #take(message: string): void {
    const dropped =
      this.#buffered + message.length > MAX_BUFFERED_CHARACTERS && message.length > HINT_CHARACTERS
    if (dropped || this.#buffer.length >= MAX_BUFFERED_MESSAGES) {
      this.#missed = true
      return
    }
    this.#buffered += message.length
    this.#buffer.push(message)
    this.#wake?.()
  }
}
