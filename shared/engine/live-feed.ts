import type { Cache } from '../ports/cache.ts'

/** What a slow reader may leave unread; beyond it text in between is dropped, which the stored rows replace. */
const MAX_BUFFERED_CHARACTERS = 256 * 1024
const RESUBSCRIBE_MS = 2000

/** A subscription that heals itself, read in batches with a bounded wait. */
export class LiveFeed {
  #cache: Cache
  #channel: string
  #signal: AbortSignal
  #buffer: string[] = []
  #buffered = 0
  #wake: (() => void) | undefined
  #onReady: (() => void) | undefined
  #live: boolean = false

  constructor(cache: Cache, channel: string, signal: AbortSignal) {
    this.#cache = cache
    this.#channel = channel
    this.#signal = signal
    signal.addEventListener('abort', () => this.#wake?.(), { once: true })
    void this.#run()
  }

  /** True while the subscription stands. */
  get isLive(): boolean {
    return this.#live
  }

  /** Resolves when the subscription stands, or after the wait. */
  async ready(milliseconds: number): Promise<void> {
    if (this.#live) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, milliseconds)
      this.#onReady = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  /** Messages since the last call; waits for one at most so long. */
  async next(milliseconds: number): Promise<string[]> {
    if (this.#buffer.length === 0 && !this.#signal.aborted && milliseconds > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, milliseconds)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
      this.#wake = undefined
    }
    const messages = this.#buffer
    this.#buffer = []
    this.#buffered = 0
    return messages
  }

  async #run(): Promise<void> {
    const signal = this.#signal
    while (!signal.aborted) {
      const onReady = () => {
        this.#live = true
        this.#onReady?.()
      }
      for await (const message of this.#cache.subscribe(this.#channel, { signal, onReady }))
        this.#take(message)
      this.#live = false
      await this.#pause()
    }
  }

  #take(message: string): void {
    this.#buffered += message.length
    // A hint is short and stays; a flood of text does not.
    if (this.#buffered > MAX_BUFFERED_CHARACTERS && message.length > 1024) return
    if (this.#buffer.length >= 10_000) return
    this.#buffer.push(message)
    this.#wake?.()
  }

  #pause(): Promise<void> {
    if (this.#signal.aborted) return Promise.resolve()
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer)
        this.#signal.removeEventListener('abort', done)
        resolve()
      }
      const timer = setTimeout(done, RESUBSCRIBE_MS)
      this.#signal.addEventListener('abort', done, { once: true })
    })
  }
}
