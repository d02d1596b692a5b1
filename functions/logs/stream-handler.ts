import { randomUUID } from 'node:crypto'
import type { LogsConfig } from '../../shared/config/read-config.ts'
import { isBlank, runIdOf } from '../../shared/contract/input.ts'
import { parseLogs, positionAfter, type StreamPosition } from '../../shared/contract/logs.ts'
import { isFinal } from '../../shared/core/run.ts'
import { announce } from '../../shared/engine/announce.ts'
import { EventReader } from '../../shared/engine/event-reader.ts'
import { LiveHub } from '../../shared/engine/live-hub.ts'
import { namedShape } from '../../shared/engine/named-shape.ts'
import { plainShape } from '../../shared/engine/plain-shape.ts'
import { positionSince } from '../../shared/engine/position-since.ts'
import { signEvents } from '../../shared/engine/sign-stale.ts'
import { type StopReason, streamRun } from '../../shared/engine/stream-run.ts'
import { type TailItem, tailLog } from '../../shared/engine/tail-log.ts'
import type { AppContext } from '../../shared/http/env.ts'
import { MethodNotAllowed } from '../../shared/http/errors.ts'
import type { RateLimiter } from '../../shared/http/rate-limiter.ts'
import { sse } from '../../shared/http/sse.ts'
import type { LogsPorts } from './ports.ts'
import { createStreamCaller, type StreamCaller } from './stream-caller.ts'

type Query = Readonly<Record<string, string | undefined>>
export type StreamHandler = (context: AppContext, kind: 'plain' | 'named', query: Query) => Promise<Response>

/** A stream that was cut is out of the count after its time and this. */
const LEFT_SECONDS = 30
/** Enough of a ticket's hash to tell it from others of the same run. */
const TICKET_ID_CHARACTERS = 16

/** Answers a stream: who reads, from where, then frames until the run's end or an earlier one. */
export function streamHandler(config: LogsConfig, ports: LogsPorts, limiter: RateLimiter): StreamHandler {
  const callerOf = createStreamCaller(ports, config)
  const hub = new LiveHub(ports.cache)
  const reader = new EventReader(ports.store)

  return async (context, kind, query) => {
    // A stream that nobody reads.
    if (context.req.method === 'HEAD') throw new MethodNotAllowed(['GET', 'OPTIONS'])
    const runId = runIdOf(isBlank(query.run_id) ? undefined : query.run_id, query.task_id)
    const caller = await callerOf(context, runId)
    const { principal, ticket } = caller
    limiter.take('stream', principal)
    const lastId = context.req.header('last-event-id') ?? query.last_event_id
    const position = await startOf(ports, caller, runId, lastId, query)
    const known = position.seq > 0 || position.part > 0
    // The end was delivered: an EventSource that comes back all the same is stopped by 204.
    if (ticket?.delivered && !known) return new Response(null, { status: 204 })

    const user = `${principal.issuer} ${principal.sub}`
    const connection = ports.connections.open(user)
    const { signal } = connection
    const entered = enter(ports, user, signal, config)
    const options = {
      reader,
      hub,
      principal,
      runId,
      afterSeq: position.seq,
      signal,
    }
    const tail = ticket === null ? tailLog(options) : untilReplaced(tailLog(options), ticket, connection)
    try {
      // Counted over all processes while the first rows are read: no stream waits for it.
      const [first, count] = await Promise.all([tail.next(), entered])
      if (count !== null && count > config.maxStreamsPerUser) throw ports.connections.tooMany()
      if (known && isOver(first)) {
        connection.abort('over')
        return new Response(null, { status: 204 })
      }
      if (ticket !== null) await takeOver(ports, runId, ticket, connection)
      const timers = stopTimers(connection, caller, config)
      const shape = kind === 'plain' ? plainShape(runId) : namedShape()
      return sse(context, {
        connection,
        source: streamRun({
          shape,
          tail: prepended(first, tail),
          position,
          signal,
          early: kind === 'plain' || query.resume === 'true' ? 'close' : 'break',
          idleEndMs: query.idle === 'end' ? config.idleEndSeconds * 1000 : null,
          prepare: (events) => signEvents(ports, events),
          onDelivered: async () => {
            if (ticket !== null)
              await ports.store.closeTicket({ ticket_sha256: ticket.sha256, run_id: runId }).catch(() => {})
          },
        }),
        heartbeat: { seconds: config.streamHeartbeatSeconds, text: () => shape.heartbeat() },
        slowReaderSeconds: config.slowReaderSeconds,
        onEnd(outcome, error) {
          for (const timer of timers) clearTimeout(timer)
          const fields = { run_id: runId, outcome, ...(error === undefined ? {} : { err: error }) }
          context.get('log').debug(fields, 'stream ended')
        },
      })
    } catch (error) {
      connection.abort('over')
      throw error
    }
  }
}

/** How many streams the user has, in all processes; null: not known. A process that dies leaves places that are free after a stream's time. */
async function enter(
  { cache }: LogsPorts,
  user: string,
  signal: AbortSignal,
  { streamMaxSeconds }: LogsConfig,
): Promise<number | null> {
  const set = `streams:${user}`
  const member = randomUUID()
  const entered = cache.enter(set, member, streamMaxSeconds + LEFT_SECONDS)
  signal.addEventListener('abort', () => void entered.then(() => cache.leave(set, member)), { once: true })
  return entered
}

/** The last id the reader saw, in the header or (no EventSource can set one the first time) the query; else `since`. */
async function startOf(
  { store }: LogsPorts,
  { principal }: StreamCaller,
  runId: string,
  lastId: string | undefined,
  query: Query,
): Promise<StreamPosition> {
  if (!isBlank(lastId)) return positionAfter(lastId)
  const { after } = parseLogs({ run_id: runId, since: query.since })
  if (after.seq !== null) return { seq: after.seq, part: 0 }
  if (after.time === null) return { seq: 0, part: 0 }
  return { seq: await positionSince(store, principal, runId, after.time), part: 0 }
}

function isOver(first: IteratorResult<TailItem, void>): boolean {
  if (first.done === true || first.value.kind !== 'page') return false
  const { run, events, has_more } = first.value.page
  return isFinal(run.status) && events.length === 0 && !has_more
}

async function takeOver(
  { connections, cache }: LogsPorts,
  runId: string,
  ticket: NonNullable<StreamCaller['ticket']>,
  connection: AbortController,
): Promise<void> {
  connections.hold(ticket.sha256, ticket.connection, connection)
  await announce(cache, runId, { t: 'ticket', ticket: idOf(ticket), connection: ticket.connection })
}

function idOf({ sha256 }: { sha256: string }): string {
  return sha256.slice(0, TICKET_ID_CHARACTERS)
}

/** Ends the connection when a newer one of the same ticket says so, from whichever process. */
async function* untilReplaced(
  tail: AsyncGenerator<TailItem, void>,
  ticket: NonNullable<StreamCaller['ticket']>,
  connection: AbortController,
): AsyncGenerator<TailItem, void> {
  for await (const item of tail) {
    const replaced =
      item.kind === 'live' &&
      item.messages.some(
        (message) =>
          message.t === 'ticket' && message.ticket === idOf(ticket) && message.connection > ticket.connection,
      )
    if (replaced) {
      connection.abort('replaced' satisfies StopReason)
      return
    }
    yield item
  }
}

async function* prepended(
  first: IteratorResult<TailItem, void>,
  rest: AsyncGenerator<TailItem, void>,
): AsyncGenerator<TailItem, void> {
  if (first.done === true) return
  yield first.value
  yield* rest
}

function stopTimers(
  connection: AbortController,
  { expiresAt }: StreamCaller,
  { streamMaxSeconds }: LogsConfig,
): NodeJS.Timeout[] {
  const stop = (reason: StopReason, milliseconds: number) =>
    setTimeout(() => connection.abort(reason), milliseconds)
  const maxMs = streamMaxSeconds * 1000
  const leftMs = Math.max(0, expiresAt - Date.now())
  return [leftMs < maxMs ? stop('expired', leftMs) : stop('max', maxMs)]
}
