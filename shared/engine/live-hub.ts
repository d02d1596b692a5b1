import { runChannel, watchFlag } from '../contract/live.ts'
import type { Cache } from '../ports/cache.ts'

const RESUBSCRIBE_MS = 2000
/** Who runs a step or a job looks at the flag to know whether anybody watches; it outlives a renewal or two that were lost. */
const WATCH_SECONDS = 30
const WATCH_RENEW_MS = 10_000

/** One who listens to a run. Called at once, one after the other: a listener that keeps what it hears bounds it itself. */
export interface Listener {
  message(text: string): void
  /** The subscription stands now, or was lost: in between, messages may have been. */
  changed(isLive: boolean): void
}

interface Channel {
  listeners: Set<Listener>
  stop: AbortController
  isLive: boolean
  watchedAt: number
}

/** One subscription for all readers of a run in this process, which heals itself, for as long as there is one of them. */
export class LiveHub {
  #cache: Cache
  #channels = new Map<string, Channel>()

  constructor(cache: Cache) {
    this.#cache = cache
  }

  /** Subscriptions that are open or being opened. */
  get size(): number {
    return this.#channels.size
  }

  /** Listens until the signal aborts. */
  listen(runId: string, listener: Listener, signal: AbortSignal): void {
    if (signal.aborted) return
    let channel = this.#channels.get(runId)
    if (channel === undefined) {
      channel = {
        listeners: new Set(),
        stop: new AbortController(),
        isLive: false,
        watchedAt: Number.NEGATIVE_INFINITY,
      }
      this.#channels.set(runId, channel)
      void this.#run(runId, channel)
    }
    channel.listeners.add(listener)
    if (channel.isLive) listener.changed(true)
    signal.addEventListener('abort', () => this.#leave(runId, channel, listener), { once: true })
  }

  /** Says that somebody watches the run, for all of them together. */
  watch(runId: string): void {
    const channel = this.#channels.get(runId)
    if (channel === undefined || performance.now() - channel.watchedAt < WATCH_RENEW_MS) return
    channel.watchedAt = performance.now()
    void this.#cache.setFlag(watchFlag(runId), WATCH_SECONDS)
  }

  #leave(runId: string, channel: Channel, listener: Listener): void {
    channel.listeners.delete(listener)
    if (channel.listeners.size > 0) return
    channel.stop.abort()
    if (this.#channels.get(runId) === channel) this.#channels.delete(runId)
  }

  async #run(runId: string, channel: Channel): Promise<void> {
    const { signal } = channel.stop
    const become = (isLive: boolean) => {
      if (channel.isLive === isLive) return
      channel.isLive = isLive
      for (const listener of channel.listeners) listener.changed(isLive)
    }
    while (!signal.aborted) {
      const options = { signal, onReady: () => become(true) }
      for await (const message of this.#cache.subscribe(runChannel(runId), options))
        for (const listener of channel.listeners) listener.message(message)
      become(false)
      await pause(RESUBSCRIBE_MS, signal)
    }
  }
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, milliseconds)
    signal.addEventListener('abort', done, { once: true })
  })
}
