import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { Hono } from 'hono'
import { type Counters, createDispatcher } from './dispatcher.ts'
import { createFaults, type FaultOptions } from './faults.ts'
import { describeMessage } from './message.ts'
import { BadRequest } from './options.ts'
import { loadState, persistState } from './persist.ts'
import { flowRoutes } from './routes-flow.ts'
import { messageRoutes } from './routes-messages.ts'
import { publishRoutes } from './routes-publish.ts'
import { queueRoutes } from './routes-queues.ts'
import { scheduleRoutes } from './routes-schedules.ts'
import { DEFAULT_LIMITS, type Limits } from './state.ts'
import type { AppContext, Bindings } from './target.ts'

export interface QStashOptions {
  /** What clients must send as Bearer token (or `?qstash_token=`). */
  token: string
  /** Signs every delivery. */
  currentKey: string
  nextKey: string
  /** Sent as Upstash-Region. Default EU-CENTRAL-1. */
  region?: string
  /** Unix ms; default Date.now. */
  now?: () => number
  /** Factor on every wait (delays, retries, windows, timeouts), so that tests take milliseconds. Default 1. */
  timeScale?: number
  log?: (fields: Record<string, unknown>, message: string) => void
  /** File that keeps messages, dead letters, queues, topics, schedules and deduplication across restarts. */
  persistTo?: string
  faults?: FaultOptions
  limits?: Partial<Limits>
}

export interface QStashStats extends Counters {
  pending: number
  active: number
  deadLetters: number
  pendingBytes: number
}

export interface QStash {
  app: Hono<{ Bindings: Bindings }>
  fetch: Hono<{ Bindings: Bindings }>['fetch']
  stats(): QStashStats
  /** Pending messages as the API shows them, with their state. */
  messages(): Record<string, unknown>[]
  setFaults(options: FaultOptions): void
  /** Stops delivering, cuts deliveries in flight (they are due again after a restart) and writes the last snapshot. */
  close(): Promise<void>
}

/**
 * A stand-in for QStash, in process, to be mounted under any base path. Development only: it trusts its one token, and delivers to
 * any address it is told.
 */
export function createQStash(options: QStashOptions): QStash {
  const now = options.now ?? Date.now
  const timeScale = options.timeScale ?? 1
  const scale = (ms: number) => ms * timeScale
  const log = options.log ?? (() => undefined)
  const limits: Limits = { ...DEFAULT_LIMITS, ...options.limits }
  const keys = { current: options.currentKey, next: options.nextKey }
  const faults = createFaults(options.faults)
  const state = loadState(options.persistTo)
  const persistence = persistState(options.persistTo, state, (err) =>
    log({ err }, 'messages could not be written to disk'),
  )
  const dispatcher = createDispatcher({
    state,
    limits,
    faults,
    currentKey: () => keys.current,
    region: options.region ?? 'EU-CENTRAL-1',
    now,
    scale,
    changed: persistence.changed,
    log,
  })

  const app = new Hono<{ Bindings: Bindings }>()
  app.use('/v2/*', async (c, next) => {
    if (!isAuthorized(c, options.token)) return c.json({ error: 'invalid token' }, 401)
    return await next()
  })
  app.route('/', publishRoutes(dispatcher, persistence, limits))
  app.route('/', messageRoutes(state, dispatcher, persistence))
  app.route('/', queueRoutes(state, dispatcher, persistence, limits, now))
  app.route('/', scheduleRoutes(state, dispatcher, persistence, limits, now))
  app.route('/', flowRoutes(state, dispatcher, persistence, limits, now))
  app.get('/v2/keys', (c) => c.json(keys))
  app.post('/v2/keys/rotate', (c) => {
    keys.current = keys.next
    keys.next = `sig_${randomBytes(21).toString('base64url')}`
    return c.json(keys)
  })
  // A route of its own, because notFound of a mounted app is never asked.
  app.all('/v2/*', (c) => c.json({ error: 'not found' }, 404))
  app.onError((error, c) => {
    // What was not read of a body is still in the connection.
    if (error instanceof BadRequest && error.status === 413) c.header('connection', 'close')
    if (error instanceof BadRequest) return c.json({ error: error.message }, error.status)
    log({ err: error }, 'qstash request failed')
    return c.json({ error: 'internal error' }, 500)
  })
  dispatcher.wake()

  return {
    app,
    fetch: app.fetch,
    stats() {
      const messages = [...state.messages.values()]
      return {
        ...dispatcher.counters,
        pending: messages.length,
        active: messages.filter((message) => message.state === 'ACTIVE').length,
        deadLetters: state.deadLetters.size,
        pendingBytes: state.pendingBytes,
      }
    },
    messages: () =>
      [...state.messages.values()].map((message) => ({ ...describeMessage(message), state: message.state })),
    setFaults: faults.set,
    async close() {
      await dispatcher.close()
      await persistence.saved().catch(() => undefined)
    },
  }
}

function isAuthorized(c: AppContext, token: string): boolean {
  const header = c.req.header('authorization') ?? ''
  const given =
    /^Bearer\s+(\S+)$/i.exec(header)?.[1] ?? new URL(c.req.raw.url).searchParams.get('qstash_token') ?? ''
  // Hashes have one length, so the comparison tells nothing about the token's.
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(given), digest(token))
}
