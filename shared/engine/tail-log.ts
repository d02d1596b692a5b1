import { type LiveMessage, parseLive } from '../contract/live.ts'
import { AppError } from '../core/errors.ts'
import { isFinal, type RunStatus } from '../core/run.ts'
import type { Principal } from '../ports/identity.ts'
import type { EventPage } from '../ports/store.ts'
import type { EventReader } from './event-reader.ts'
import { LiveFeed } from './live-feed.ts'
import type { LiveHub } from './live-hub.ts'
import { nextPageRows, SMALL_PAGE_ROWS } from './page-rows.ts'

export type TailItem =
  | { kind: 'page'; page: EventPage }
  | { kind: 'live'; messages: LiveMessage[] }
  /** Nothing new since the last look; the run's status as last read. */
  | { kind: 'quiet'; status: RunStatus }

export interface TailOptions {
  reader: EventReader
  hub: LiveHub
  principal: Principal
  runId: string
  afterSeq: number
  signal: AbortSignal
}

/**
 * Polls are the truth and live messages a hint. While something happens a lost hint costs 2 s; where nothing does, the time between
 * two looks doubles: a thousand idle readers ask less than a hundred times a second.
 */
const POLL_LIVE = { firstMs: 2000, mostMs: 16_000 }
const POLL_ALONE = { firstMs: 1000, mostMs: 4000 }
/** A run that waits for a human changes by a verb, which announces itself. */
const POLL_WAITING = { firstMs: 5000, mostMs: 15_000 }
/** A first read does not wait longer than this for the subscription. */
const SUBSCRIBE_MS = 300
/** A database away for longer ends the stream: the reader comes back, perhaps to another instance. */
const OUTAGE_MS = 30_000

/**
 * A run's stored events after a number, then what happens: subscribes first, reads until caught up, then waits for a hint or the
 * next poll. Ends with the signal. Rejects when the first read fails, when the run is gone, or the database is away for 30 s.
 */
export async function* tailLog(options: TailOptions): AsyncGenerator<TailItem, void> {
  const { reader, hub, principal, runId, signal } = options
  const feed = new LiveFeed(hub, runId, signal)
  let seq = options.afterSeq
  let opened = false
  let quietLooks = 0
  let rows = SMALL_PAGE_ROWS
  let failingSince: number | undefined
  let status: RunStatus = 'created'

  const readPage = async (): Promise<EventPage | undefined> => {
    try {
      const page = await reader.read({ principal, run_id: runId, after_seq: seq, limit: rows })
      rows = nextPageRows(rows, page)
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
  feed.takeMissed()
  while (!signal.aborted) {
    let more = true
    while (more && !signal.aborted) {
      const page = await readPage()
      if (page === undefined) break
      status = page.run.status
      const last = page.events.at(-1)
      if (last !== undefined) {
        seq = last.log.seq
        quietLooks = 0
      }
      if (last !== undefined || !opened || isFinal(status)) yield { kind: 'page', page }
      opened = true
      more = page.has_more && last !== undefined
    }
    if (!waits(status)) hub.watch(runId)
    // Live messages until one says that there are rows, or it is time to look.
    const pollAt = performance.now() + pollMs(status, feed.isLive, quietLooks)
    for (;;) {
      const messages = await feed.next(pollAt - performance.now())
      if (signal.aborted) return
      if (messages.length > 0)
        yield { kind: 'live', messages: messages.map(parseLive).filter((message) => message !== null) }
      if (messages.length > 0) quietLooks = 0
      if (feed.takeMissed() || messages.some((text) => announces(parseLive(text), seq))) break
      if (performance.now() >= pollAt) {
        quietLooks += 1
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

function pollMs(status: RunStatus, isLive: boolean, quietLooks: number): number {
  const { firstMs, mostMs } = waits(status) ? POLL_WAITING : isLive ? POLL_LIVE : POLL_ALONE
  return Math.min(mostMs, firstMs * 2 ** quietLooks)
}

/** Nothing happens by itself. */
function waits(status: RunStatus): boolean {
  return status === 'created' || status === 'waiting_user' || status === 'paused'
}
