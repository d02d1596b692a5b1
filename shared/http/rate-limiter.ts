import { AppError } from '../core/errors.ts'
import type { RateKind, RateLimits } from '../core/rate-limits.ts'
import { waitMs } from '../core/sliding-window.ts'
import type { Cache } from '../ports/cache.ts'
import type { Principal } from '../ports/identity.ts'

const WINDOW_MS = 60_000
/** What is let through is told so much later: together, and after the answer that a cold process was started for. */
const TELL_AFTER_MS = 100
/** A process asks about so many counters at once at most: one request to Redis has 1 MB. */
const MAX_BATCH = 500
/** Names kept in memory, about 300 bytes each. Only verified users get here, so it is reached by as many of them in two minutes. */
const MAX_NAMES = 50_000
const WHAT: Readonly<Record<RateKind, string>> = {
  create: 'new runs',
  write: 'changes',
  read: 'reads',
  stream: 'opened streams',
}

interface Window {
  /** Number of the window since 1970. */
  index: number
  previous: number
  previousKnown: boolean
  /** Let through by this process in this window, and how many of them the cache has been told. */
  own: number
  told: number
  /** Let through by other processes, as last heard. */
  others: number
}

/**
 * How often a user, and a tenant, may ask. This process decides at once from what it knows, and tells the cache afterwards what it let
 * through and hears what others did: no answer waits for Redis. The price is that processes may together let through, once, what came
 * within a tenth of a second and one round trip; how much work a user has open is bounded exactly, in SQL. With the cache away each process keeps the limit by
 * itself, so that nobody is refused for it and nothing is unbounded.
 */
export class RateLimiter {
  #cache: Cache
  #limits: RateLimits
  #now: () => number
  #tellAfterMs: number
  #windows = new Map<string, Window>()
  #untold = new Set<string>()
  #telling = false
  /** The window in which old names were last forgotten. */
  #clearedAt = 0

  constructor(
    cache: Cache,
    limits: RateLimits,
    now: () => number = Date.now,
    tellAfterMs: number = TELL_AFTER_MS,
  ) {
    this.#cache = cache
    this.#limits = limits
    this.#now = now
    this.#tellAfterMs = tellAfterMs
  }

  /** Names in memory. */
  get size(): number {
    return this.#windows.size
  }

  /** @throws AppError rate_limited, with the time until the next request fits. A refused request does not count. */
  take(kind: RateKind, { issuer, sub, tenant_id }: Principal): void {
    const nowMs = this.#now()
    const index = Math.floor(nowMs / WINDOW_MS)
    const limit = this.#limits.perMinute[kind]
    const scopes = [{ name: `rate:${kind}:u:${issuer} ${sub}`, limit, whose: 'you' }]
    if (tenant_id !== null)
      scopes.push({
        name: `rate:${kind}:t:${tenant_id}`,
        limit: limit * this.#limits.tenantFactor,
        whose: 'all users of your organisation together',
      })
    const windows = scopes.map((scope) => ({ ...scope, window: this.#window(scope.name, index) }))
    for (const { window, whose, limit } of windows) {
      const counted = { previous: window.previous, current: window.own + window.others }
      const wait = waitMs(counted, { limit, windowMs: WINDOW_MS, elapsedMs: nowMs - index * WINDOW_MS })
      if (wait === 0) continue
      const seconds = Math.ceil(wait / 1000)
      throw new AppError(
        'rate_limited',
        `Too many ${WHAT[kind]}: ${limit} a minute are allowed for ${whose}. Try again in ${seconds} s`,
        { retryAfterSeconds: seconds },
      )
    }
    for (const { window, name } of windows) {
      window.own += 1
      this.#untold.add(name)
    }
    if (!this.#telling) void this.#tell()
  }

  #window(name: string, index: number): Window {
    const known = this.#windows.get(name)
    if (known !== undefined && known.index === index) return known
    const follows = known?.index === index - 1
    const window: Window = {
      index,
      previous: follows ? known.own + known.others : 0,
      previousKnown: false,
      own: 0,
      told: 0,
      others: 0,
    }
    if (this.#windows.size >= MAX_NAMES || index > this.#clearedAt) this.#makeRoom(index)
    // moved to the end: the map is in the order of last windows
    this.#windows.delete(name)
    this.#windows.set(name, window)
    return window
  }

  #makeRoom(index: number): void {
    this.#clearedAt = index
    for (const [name, window] of this.#windows) {
      if (window.index >= index - 1 && this.#windows.size < MAX_NAMES) return
      this.#windows.delete(name)
      this.#untold.delete(name)
    }
  }

  /** One round trip at a time: what comes meanwhile goes together with the next. */
  async #tell(): Promise<void> {
    this.#telling = true
    try {
      await new Promise<void>((resolve) => {
        setTimeout(resolve, this.#tellAfterMs).unref()
      })
      while (this.#untold.size > 0) if (!(await this.#tellSome())) return
    } finally {
      this.#telling = false
    }
  }

  /** False with the cache away: the next request tries again. */
  async #tellSome(): Promise<boolean> {
    const entries = [...this.#untold].slice(0, MAX_BATCH).flatMap((name) => {
      this.#untold.delete(name)
      const window = this.#windows.get(name)
      return window === undefined ? [] : [{ name, window, by: window.own - window.told }]
    })
    const ttlSeconds = (2 * WINDOW_MS) / 1000
    const additions = entries.flatMap(({ name, window, by }) => [
      { name: `${name}:${window.index}`, by, ttlSeconds },
      ...(window.previousKnown ? [] : [{ name: `${name}:${window.index - 1}`, by: 0, ttlSeconds }]),
    ])
    const values = await this.#cache.addCounts(additions)
    if (values === null) {
      for (const { name } of entries) this.#untold.add(name)
      return false
    }
    let place = 0
    for (const { window, by } of entries) {
      window.told += by
      window.others = Math.max(0, (values[place] ?? 0) - window.told)
      place += 1
      if (window.previousKnown) continue
      window.previous = Math.max(window.previous, values[place] ?? 0)
      window.previousKnown = true
      place += 1
    }
    return true
  }
}
