import type { StreamPosition } from '../contract/logs.ts'
import { AppError } from '../core/errors.ts'
import { isFinal, type RunStatus } from '../core/run.ts'
import type { EventPage, StoredEvent } from '../ports/store.ts'
import type { StreamShape } from './stream-shape.ts'
import type { TailItem } from './tail-log.ts'

/** Why a stream ends before its run does. */
export type StopReason = 'max' | 'expired' | 'replaced' | 'drain'

export interface StreamOptions {
  shape: StreamShape
  tail: AsyncGenerator<TailItem, void>
  position: StreamPosition
  /** Aborts with a StopReason as its reason, or with any other when the reader is gone. The tail ends with it too. */
  signal: AbortSignal
  /** How the stream ends before its run: old fetch readers of the named stream take a clean end for silence. */
  early: 'close' | 'break'
  /** Milliseconds of waiting after which a stream asked with idle=end ends; null: never. */
  idleEndMs: number | null
  /** Makes what is shown of a row's file fit, e.g. signs its link again. */
  prepare: (events: StoredEvent[]) => Promise<StoredEvent[]>
  /** Called when the frames of the run's end were taken by the reader's connection. */
  onDelivered: () => Promise<void>
}

/** EventSources wait this long before they come back. */
const RETRY_MS = 1000
const IDLE_RETRY_MS = 60_000
/** About a socket's buffer. */
const PIECE_CHARACTERS = 64 * 1024

/** Text of a stream, whole frames at a time, until the run's end or an earlier one. */
export async function* streamRun(options: StreamOptions): AsyncGenerator<string, 'close' | 'break'> {
  const { shape, tail, position, signal, early, idleEndMs, prepare, onDelivered } = options
  let skip = position.part
  let activeAt = performance.now()
  yield `retry: ${RETRY_MS}\n\n${shape.opening()}`
  try {
    for await (const item of tail) {
      if (item.kind === 'live') {
        activeAt = performance.now()
        const text = shape.live(item.messages)
        if (text !== '') yield text
      } else if (item.kind === 'quiet') {
        if (idleEndMs === null || !waits(item.status) || performance.now() - activeAt < idleEndMs) continue
        yield `retry: ${IDLE_RETRY_MS}\n\n`
        return 'close'
      } else {
        const events = await prepare(item.page.events)
        const end = yield* pageTexts(shape, { ...item.page, events }, skip)
        if (events.length > 0) {
          skip = 0
          activeAt = performance.now()
        }
        if (!end) continue
        await onDelivered()
        return 'close'
      }
    }
  } catch (error) {
    if (error instanceof AppError && error.code === 'run_not_found') {
      yield shape.failed(error.message)
      return 'close'
    }
    return early
  }
  return yield* lastWords(shape, signal.reason, early)
}

async function* lastWords(
  shape: StreamShape,
  reason: unknown,
  early: 'close' | 'break',
): AsyncGenerator<string, 'close' | 'break'> {
  if (reason === 'expired') yield shape.expired()
  if (reason === 'max' || reason === 'drain')
    yield shape.interrupted(reason === 'max' ? 'time_limit' : 'shutdown')
  if (reason === 'replaced') {
    // A client with two connections on one ticket would otherwise end one with the other, over and over.
    yield `retry: ${IDLE_RETRY_MS}\n\n`
    return 'close'
  }
  return early
}

/** Frames of a page, some at a time: the text of a big page at once would be several times the page. Answers whether the run has ended. */
function* pageTexts(shape: StreamShape, page: EventPage, skip: number): Generator<string, boolean> {
  let text = ''
  let end = false
  for (const [index, event] of page.events.entries()) {
    const made = shape.event(event, page.run, index === 0 ? skip : 0)
    text += made.text
    end = made.end
    if (end) break
    if (text.length < PIECE_CHARACTERS) continue
    yield text
    text = ''
  }
  if (!end && isFinal(page.run.status) && !page.has_more) {
    text += shape.impliedEnd(page.run)
    end = true
  }
  if (text !== '') yield text
  return end
}

/** Statuses in which only somebody outside can make anything happen. */
function waits(status: RunStatus): boolean {
  return status === 'created' || status === 'waiting_user' || status === 'paused'
}
