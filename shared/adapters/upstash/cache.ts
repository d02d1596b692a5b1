import type { Redis } from '@upstash/redis'
import type { Cache } from '../../ports/cache.ts'
import type { Log } from '../../ports/log.ts'
import { createBreaker } from './breaker.ts'
import { subscribeSse } from './subscribe.ts'

export interface CacheOptions {
  url: string
  token: string
  /** Longest wait for one call. Default 800 ms: what is lost here is read from the database a moment later. */
  timeoutMs?: number
  /** Pause of all calls after one failed. Default 1500 ms. */
  breakerMs?: number
  /** Until a subscription is confirmed. Default 5000 ms. */
  connectTimeoutMs?: number
  /** Silence after which a subscription ends, so that the reader polls and subscribes again. Default 45 000 ms. */
  idleTimeoutMs?: number
  log?: Log
}

/** A set that nobody enters any more goes after so long; its members go by their own times. */
const SET_SECONDS = 3600

/** A bigger message is left out: subscribers would cut the connection, and read the same from the database anyway. */
const MAX_MESSAGE_CHARACTERS = 512 * 1024

/**
 * Live messages and flags over Upstash Redis REST. Messages travel as JSON strings, because a line break in a payload would end its
 * line in the stream. The SDK is loaded by the first call.
 */
export function createCache(options: CacheOptions): Cache {
  const {
    token,
    timeoutMs = 800,
    breakerMs = 1500,
    connectTimeoutMs = 5000,
    idleTimeoutMs = 45_000,
    log,
  } = options
  const url = options.url.replace(/\/+$/, '')
  const breaker = createBreaker({ openMs: breakerMs, now: Date.now })
  let client: Promise<Redis> | undefined

  const connect = async (): Promise<Redis> => {
    const { Redis } = await import('@upstash/redis')
    return new Redis({
      url,
      token,
      // `false` would still try twice (1.39.0).
      retry: { retries: 0 },
      // As a function: with a plain signal the SDK answers an abort with a made-up 200.
      signal: () => AbortSignal.timeout(timeoutMs),
      enableTelemetry: false,
      enableAutoPipelining: false,
      automaticDeserialization: false,
      readYourWrites: false,
    })
  }

  /** Never throws. The SDK's messages hold the whole command, so only the kind of the failure is logged. */
  function failed(error: unknown): void {
    if (!breaker.failed()) return
    log?.warn(
      { outcome: error instanceof Error ? error.name : 'unknown' },
      'live cache is away, readers poll',
    )
  }

  async function attempt<T>(fallback: T, run: (redis: Redis) => Promise<T>): Promise<T> {
    if (breaker.isOpen) return fallback
    try {
      client ??= connect()
      const result = await run(await client)
      breaker.succeeded()
      return result
    } catch (error) {
      failed(error)
      return fallback
    }
  }

  return {
    async publish(channel, messages) {
      const payloads = messages
        .map((message) => JSON.stringify(message))
        .filter((text) => text.length <= MAX_MESSAGE_CHARACTERS)
      if (payloads.length === 0) return
      await attempt(undefined, async (redis) => {
        const pipeline = redis.pipeline()
        for (const payload of payloads) pipeline.publish(channel, payload)
        await pipeline.exec()
      })
    },

    async *subscribe(channel, { signal, onReady }) {
      if (signal.aborted || breaker.isOpen) return
      const lines = subscribeSse({ url, token, channel, signal, onReady, connectTimeoutMs, idleTimeoutMs })
      // Not for await: a failure of the reader's own loop body must not be swallowed here.
      try {
        for (;;) {
          const next = await lines.next().catch((error: unknown) => {
            if (!signal.aborted) failed(error)
            return { done: true as const, value: undefined }
          })
          if (next.done) return
          const message = decode(next.value)
          if (message !== undefined) yield message
        }
      } finally {
        await lines.return(undefined).catch(() => undefined)
      }
    },

    async setFlag(name, ttlSeconds) {
      await attempt(undefined, async (redis) => {
        await redis.set(name, '1', { ex: Math.max(1, Math.ceil(ttlSeconds)) })
      })
    },

    hasFlag: (name) => attempt(false, async (redis) => (await redis.exists(name)) === 1),

    async addCounts(additions) {
      if (additions.length === 0) return []
      return attempt(null, async (redis) => {
        const pipeline = redis.pipeline()
        for (const { name, by, ttlSeconds } of additions) {
          if (by === 0) pipeline.get(name)
          else {
            pipeline.incrby(name, by)
            pipeline.expire(name, Math.max(1, Math.ceil(ttlSeconds)))
          }
        }
        const answers = await pipeline.exec<unknown[]>()
        let place = 0
        return additions.map(({ by }) => {
          const value = Number(answers[place] ?? 0)
          place += by === 0 ? 1 : 2
          return Number.isFinite(value) ? value : 0
        })
      })
    },

    enter: (set, member, ttlSeconds) =>
      attempt(null, async (redis) => {
        const nowMs = Date.now()
        const pipeline = redis.pipeline()
        pipeline.zremrangebyscore(set, 0, nowMs)
        pipeline.zadd(set, { score: nowMs + ttlSeconds * 1000, member })
        pipeline.expire(set, Math.max(SET_SECONDS, Math.ceil(ttlSeconds)))
        pipeline.zcard(set)
        return Number((await pipeline.exec<unknown[]>())[3])
      }),

    async leave(set, member) {
      await attempt(undefined, async (redis) => {
        await redis.zrem(set, member)
      })
    },

    async forget(names) {
      if (names.length === 0) return
      await attempt(undefined, async (redis) => {
        await redis.del(...names)
      })
    },
  }
}

/** What somebody else put on the channel is not a message of ours. */
function decode(payload: string): string | undefined {
  try {
    const value: unknown = JSON.parse(payload)
    return typeof value === 'string' ? value : undefined
  } catch {
    return undefined
  }
}
