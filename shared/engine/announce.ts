import { type LiveMessage, runChannel } from '../contract/live.ts'
import type { Cache } from '../ports/cache.ts'

/** Tells open streams of a run that there is something to read. Lost messages cost them one poll interval. */
export function announce(cache: Cache, runId: string, message: LiveMessage): Promise<void> {
  return cache.publish(runChannel(runId), [JSON.stringify(message)])
}
