import { type LiveMessage, parseLive, runChannel, watchFlag } from '../contract/live.ts'
import { AppError } from '../core/errors.ts'
import { isFinal, type RunStatus } from '../core/run.ts'
import type { Cache } from '../ports/cache.ts'
import type { Principal } from '../ports/identity.ts'
import type { EventPage, FrontStore } from '../ports/store.ts'
import { LiveFeed } from './live-feed.ts'

export type TailItem =
  | { kind: 'page'; page: EventPage }
  | { kind: 'live'; messages: LiveMessage[] }
  /** Nothing new since the last look; the run's status as last read. */
  | { kind: 'quiet'; status: RunStatus }

export interface TailOptions {
  store: FrontStore
  cache: Cache
  principal: Principal
  runId: string
  afterSeq: number
  signal: AbortSignal
}

const PAGE_ROWS = 100
/** Polls are the truth and live messages a hint: with hints a lost one costs at most 2 s. */
const POLL_LIVE_MS = 2000
const POLL_ALONE_MS = 1000
/** A run that waits for a human changes by a verb, which announces itself. */
const POLL_WAITING_MS = 5000
/** A first read does not wait longer than this for the subscription. */
const SUBSCRIBE_MS = 300
const WATCH_SECONDS = 30
const WATCH_RENEW_MS = 10_000
/** A database away for longer ends the stream: the reader comes back, perhaps to another instance. */
const OUTAGE_MS = 30_000

/**
 * A run's stored events after a number, then what happens: subscribes first, reads until caught up, then waits for a hint or the
 * next poll. Ends with the signal. Rejects when the first read fails, when the run is gone, or the database is away for 30 s.
 */
export async function* tailLog(options: TailOptions): AsyncGenerator<TailItem, void> {
  const { store, cache, principal, runId, signal } = options
  const feed = new LiveFeed(cache, runChannel(runId), signal)
  let seq = options.afterSeq
  let opened = false
  let watchedAt = Number.NEGATIVE_INFINITY
  let failingSince: number | undefined
  let status: RunStatus = 'created'

  const readPage = async (): Promise<EventPage | undefined> => {
    try {
      const page = await store.readEvents({ principal, run_id: runId, after_seq: seq, limit: PAGE_ROWS })
      failingSince = undefined
      return page
    } catch (error) {
      const transient = error instanceof AppError && error.code === 'unavailable'
      if (!transient || !opened) throw error
      failingSince ??= performance.now()
      if (performance.now() - failingSince > OUTAGE_MS) throw error
      return undefined
    }
  }

  await feed.ready(SUBSCRIBE_MS)
  while (!signal.aborted) {
    let more = true
    while (more && !signal.aborted) {
      const page = await readPage()
      if (page === undefined) break
      status = page.run.status
      const last = page.events.at(-1)
      if (last !== undefined) seq = last.log.seq
      if (last !== undefined || !opened || isFinal(status)) yield { kind: 'page', page }
      opened = true
      more = page.has_more && last !== undefined
    }
    if (performance.now() - watchedAt > WATCH_RENEW_MS) {
      watchedAt = performance.now()
      void cache.setFlag(watchFlag(runId), WATCH_SECONDS)
    }
    // Live messages until one says that there are rows, or it is time to look.
    const pollAt = performance.now() + pollMs(status, feed.isLive)
    for (;;) {
      const messages = await feed.next(pollAt - performance.now())
      if (signal.aborted) return
      if (messages.length > 0)
        yield { kind: 'live', messages: messages.map(parseLive).filter((message) => message !== null) }
      if (messages.some((text) => announces(parseLive(text), seq))) break
      if (performance.now() >= pollAt) {
        yield { kind: 'quiet', status }
        break
      }
    }
  }
}

function announces(message: LiveMessage | null, seq: number): boolean {
  if (message === null) return false
  if (message.t === 'rows') return message.seq === undefined || message.seq > seq
  return message.t === 'cancelled'
}

function pollMs(status: RunStatus, live: boolean): number {
  if (status === 'created' || status === 'waiting_user' || status === 'paused') return POLL_WAITING_MS
  return live ? POLL_LIVE_MS : POLL_ALONE_MS
}
