import { DELTA_FLUSH_MS } from '../core/limits.ts'
import type { Cache } from '../ports/cache.ts'
import { sendLive } from './live.ts'

/** Collects pieces of answer text and sends them to whoever watches; lossy by design, the stored message replaces them. */
export function deltaSender(cache: Cache, runId: string, messageId: string) {
  let pending = ''
  let timer: NodeJS.Timeout | undefined
  let sending: Promise<void> = Promise.resolve()
  const flush = () => {
    timer = undefined
    const content = pending
    pending = ''
    // one after the other, so that pieces arrive in order
    sending = sending.then(() =>
      sendLive(cache, runId, [{ t: 'message_delta', message_id: messageId, content }]),
    )
  }
  return {
    onText(delta: string) {
      pending += delta
      timer ??= setTimeout(flush, DELTA_FLUSH_MS)
    },
    /** Sends nothing more: the commit's own event follows. */
    stop() {
      clearTimeout(timer)
      timer = undefined
      pending = ''
    },
  }
}
