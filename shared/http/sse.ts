import type { AppContext } from './env.ts'

/** How a stream ends: `close` ends the answer properly, `break` cuts the connection so that the reader takes it for an error. */
export type StreamEnd = 'close' | 'break'

export interface SseOptions {
  /** Text of the stream, whole frames at a time, taken only as fast as the reader takes it. */
  source: AsyncGenerator<string, StreamEnd>
  /** Aborted when the stream is over, for whatever reason; every wait inside the source must end with it. */
  connection: AbortController
  /** Sent when nothing else was, at the latest after so long. */
  heartbeat: { seconds: number; text: () => string }
  /** A reader whose buffers are full and who takes nothing for so long is dropped. */
  slowReaderSeconds: number
  /** Told when the stream ended by itself or was dropped. */
  onEnd?: (outcome: 'ended' | 'broken' | 'gone' | 'slow' | 'failed', error?: unknown) => void
}

/** A tenth before the promised time: timers and sockets are late, not early. */
const HEARTBEAT_SHARE_MS = 900

const HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no',
}

/**
 * An event stream with back-pressure: the source is asked for more only when the socket has room, so nothing piles up here for a
 * reader that does not read.
 */
export function sse(
  context: AppContext,
  { source, connection, heartbeat, slowReaderSeconds, onEnd }: SseOptions,
): Response {
  const encoder = new TextEncoder()
  const outgoing = context.env?.outgoing
  let pending: Promise<IteratorResult<string, StreamEnd>> | undefined
  let stalled: NodeJS.Timeout | undefined
  let silence: NodeJS.Timeout | undefined
  let over = false

  const finish = (outcome: 'ended' | 'broken' | 'gone' | 'slow' | 'failed', error?: unknown) => {
    if (over) return
    over = true
    clearTimeout(stalled)
    // or it would keep all of this until the next beat of a reader who is gone
    clearTimeout(silence)
    connection.abort('over')
    onEnd?.(outcome, error)
  }
  const cut = (controller: ReadableStreamDefaultController<Uint8Array>, how: 'flushed' | 'now') => {
    if (outgoing === undefined) controller.error(new Error('Stream broken off'))
    else if (how === 'now') outgoing.destroy()
    // What was written reaches the reader, but not the last chunk's mark: it sees a broken answer, not a finished one.
    else setImmediate(() => outgoing.socket?.destroySoon())
  }

  const stream = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        clearTimeout(stalled)
        pending ??= source.next()
        let next: IteratorResult<string, StreamEnd> | 'heartbeat'
        try {
          next = await firstOf(pending, heartbeat.seconds * HEARTBEAT_SHARE_MS, (timer) => {
            silence = timer
          })
        } catch (error) {
          finish('failed', error)
          cut(controller, 'flushed')
          return
        }
        if (over) return
        if (next === 'heartbeat') {
          controller.enqueue(encoder.encode(heartbeat.text()))
        } else if (next.done !== true) {
          pending = undefined
          controller.enqueue(encoder.encode(next.value))
        } else if (next.value === 'close') {
          finish('ended')
          controller.close()
          return
        } else {
          finish('broken')
          cut(controller, 'flushed')
          return
        }
        stalled = setTimeout(() => {
          finish('slow')
          cut(controller, 'now')
        }, slowReaderSeconds * 1000)
      },
      async cancel() {
        finish('gone')
        // The signal ends the source's waits; its own cleanup runs before it is let go.
        await source.return('close').catch(() => {})
      },
    },
    { highWaterMark: 0 },
  )
  return new Response(stream, { status: 200, headers: HEADERS })
}

async function firstOf<T>(
  promise: Promise<T>,
  milliseconds: number,
  onTimer: (timer: NodeJS.Timeout) => void,
): Promise<T | 'heartbeat'> {
  let timer: NodeJS.Timeout | undefined
  const silence = new Promise<'heartbeat'>((resolve) => {
    timer = setTimeout(resolve, milliseconds, 'heartbeat')
    onTimer(timer)
  })
  try {
    return await Promise.race([promise, silence])
  } finally {
    clearTimeout(timer)
  }
}
