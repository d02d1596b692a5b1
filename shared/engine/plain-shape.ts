import { plainText } from '../contract/events.ts'
import { showLog } from '../contract/present.ts'
import type { StoredEvent } from '../ports/store.ts'
import { frameId, type StreamShape } from './stream-shape.ts'

/** `mode=stream`: log rows as they are, and the run's end whatever it was. Text deltas are not part of it. */
export function plainShape(runId: string): StreamShape {
  return {
    opening: () => plainText({ type: 'connected', run_id: runId }, null),
    event({ log }, run, skip) {
      const end = log.metadata.event === 'final'
      const frames = [
        { type: 'log' as const, data: showLog(log) },
        ...(end ? [{ type: 'complete' as const, status: finalStatus(log) ?? run.status }] : []),
      ]
      const texts = frames.map((frame, index) => plainText(frame, frameId(log.seq, index + 1, frames.length)))
      return { text: texts.slice(skip).join(''), end }
    },
    live: () => '',
    impliedEnd: (run) => plainText({ type: 'complete', status: run.status }, null),
    expired: () => plainText({ type: 'error', message: 'The access token has expired' }, null),
    // Old readers take every `error` for the run's: a comment, which every SSE reader skips.
    interrupted: (reason) => `: interrupted ${reason}, come back with the last id\n\n`,
    failed: (message) => plainText({ type: 'error', message }, null),
    // Old readers know no heartbeat here: a comment, which every SSE reader skips.
    heartbeat: () => ': heartbeat\n\n',
  }
}

function finalStatus(log: StoredEvent['log']): 'completed' | 'failed' | 'cancelled' | 'timeout' | undefined {
  const status = (log.metadata.data as { status?: unknown } | undefined)?.status
  return (['completed', 'failed', 'cancelled', 'timeout'] as const).find((name) => name === status)
}
