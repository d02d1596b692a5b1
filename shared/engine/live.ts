import { type LiveMessage, runChannel } from '../contract/live.ts'
import type { Cache } from '../ports/cache.ts'

/** Tells open streams of a run what there is to read or to show. Lost messages cost them one poll interval. */
export function sendLive(cache: Cache, runId: string, messages: readonly LiveMessage[]): Promise<void> {
  return cache.publish(
    runChannel(runId),
    messages.map((message) => JSON.stringify(message)),
  )
}
