import { AgentError } from './agent-error.ts'
import { createGuard } from './guard.ts'
import { parseEvents } from './parse-events.ts'
import { backOff, pause } from './pause.ts'
import { type CallOptions, faultOf, isPassing, type Transport } from './transport.ts'
import type { AgentEvent } from './types.ts'

export interface StreamOptions extends CallOptions {
  /** Goes on exactly after this event: `lastEventId` of an earlier stream of the run. */
  lastEventId?: string | undefined
}

/** The events of a run until it ends; `for await` takes them, once. */
export interface AgentStream extends AsyncIterable<AgentEvent> {
  /** Of the last stored event taken; undefined before the first. */
  readonly lastEventId: string | undefined
}

/** The service says something every 15 s; a connection that is silent for three times as long is dead. */
const SILENCE_MS = 45_000
/** Connections in a row that bring nothing, after which a stream that worked is given up: about 8 minutes. */
const MAX_FRUITLESS = 20
/** A connection that stood so long was a good one, even if nothing happened. */
const STOOD_MS = 10_000
/** A stream whose run waits ends itself and names at least this. */
const IDLE_RETRY_MS = 10_000
/** Longest pause while a run waits; a verb of this client, or the page being shown again, ends it at once. */
const MAX_IDLE_MS = 600_000

type Received = AgentEvent | { type: 'heartbeat' } | { type: 'expired' } | { type: 'interrupted' }

export function streamRun(transport: Transport, runId: string, options: StreamOptions = {}): AgentStream {
  const place = { id: options.lastEventId }
  const events = follow(
    transport,
    `/agent/run/${encodeURIComponent(runId)}/stream?resume=true&idle=end`,
    options,
    place,
  )
  return {
    get lastEventId() {
      return place.id
    },
    [Symbol.asyncIterator]: () => events,
  }
}

async function* follow(
  transport: Transport,
  path: string,
  options: StreamOptions,
  place: { id: string | undefined },
): AsyncGenerator<AgentEvent, void, undefined> {
  const { signal, timeoutMs } = options
  const { url, sleepers } = transport
  let wasOpen = false
  let fruitless = 0
  let idleEnds = 0
  let refused: string | undefined
  for (;;) {
    const before = place.id
    const startedAt = Date.now()
    const guard = createGuard(signal)
    let retryMs = 0
    let fault: AgentError | undefined
    try {
      const headers = {
        accept: 'text/event-stream',
        ...(place.id !== undefined && { 'last-event-id': place.id }),
      }
      const { answer, token } = await transport.open(path, { signal, timeoutMs, headers, refused }, guard)
      refused = undefined
      // 204: the end was delivered before.
      if (answer.status === 204 || answer.body === null) return
      wasOpen = true
      const reader = answer.body.getReader()
      const read = () => {
        // Only a wait for the service counts, not the caller's own time between two events.
        guard.arm(SILENCE_MS)
        return reader.read().finally(guard.disarm)
      }
      for await (const { id, data, retry } of parseEvents(read)) {
        retryMs = retry ?? retryMs
        if (data === '') continue
        const event = JSON.parse(data) as Received
        place.id = id ?? place.id
        if (event.type === 'heartbeat' || event.type === 'interrupted') continue
        if (event.type === 'expired') {
          refused = token
          continue
        }
        if (event.type === 'error' && event.code === 'run_not_found' && event.status === null)
          throw new AgentError('run_not_found', event.message, { status: 404 })
        yield event
        if (event.type === 'complete' || (event.type === 'error' && event.status !== null)) return
      }
    } catch (error) {
      const thrown = faultOf(error, url, guard, signal)
      // What worked before is waited for, whatever the service's trouble.
      const passes =
        isPassing(thrown) ||
        (wasOpen && thrown instanceof AgentError && (thrown.status === 429 || thrown.status >= 500))
      if (!passes) throw thrown
      fault = thrown as AgentError
    } finally {
      guard.end()
    }
    const isNew = place.id !== before
    if (retryMs >= IDLE_RETRY_MS && fault === undefined) {
      idleEnds = isNew ? 0 : idleEnds + 1
      await pause(Math.min(retryMs * 2 ** idleEnds, MAX_IDLE_MS), signal, sleepers)
      continue
    }
    fruitless = isNew || Date.now() - startedAt > STOOD_MS ? 0 : fruitless + 1
    if (fruitless > (wasOpen ? MAX_FRUITLESS : transport.maxRetries))
      throw fault ?? new AgentError('unavailable', 'The stream keeps ending', { status: 503 })
    await pause(backOff(transport.retryDelayMs, fruitless, fault?.retryAfter), signal, sleepers)
  }
}
