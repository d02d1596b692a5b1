import type { Cache } from '../../ports/cache.ts'

export interface MemoryCache extends Cache {
  /** With false it behaves as a cache that is down, and open subscriptions end. */
  setAvailable(available: boolean): void
  /** Forgets everything and ends subscriptions, as a restart of the server does. */
  restart(): void
}

interface Reader {
  queue: string[]
  wake: () => void
  ended: boolean
}

/** What may wait for a slow reader; then its subscription ends. */
const MAX_QUEUED = 10_000

/** The cache in one process: the twin that tests run on. */
export function createMemoryCache(options: { now?: () => number } = {}): MemoryCache {
  const now = options.now ?? Date.now
  const readers = new Map<string, Set<Reader>>()
  const flags = new Map<string, number>()
  const counts = new Map<string, { value: number; untilMs: number }>()
  const sets = new Map<string, Map<string, number>>()
  let available = true

  const endAll = () => {
    for (const set of readers.values()) for (const reader of set) end(reader)
  }
  const end = (reader: Reader) => {
    reader.ended = true
    reader.wake()
  }

  return {
    publish(channel, messages) {
      for (const reader of available ? (readers.get(channel) ?? []) : []) {
        if (reader.queue.length + messages.length > MAX_QUEUED) end(reader)
        else {
          reader.queue.push(...messages)
          reader.wake()
        }
      }
      return Promise.resolve()
    },

    async *subscribe(channel, { signal, onReady }) {
      if (!available || signal.aborted) return
      const reader: Reader = { queue: [], wake: () => undefined, ended: false }
      const set = readers.get(channel) ?? new Set()
      readers.set(channel, set.add(reader))
      const stop = () => end(reader)
      signal.addEventListener('abort', stop, { once: true })
      try {
        onReady?.()
        while (!reader.ended) {
          const message = reader.queue.shift()
          if (message !== undefined) yield message
          else {
            await new Promise<void>((resolve) => {
              reader.wake = resolve
            })
          }
        }
      } finally {
        signal.removeEventListener('abort', stop)
        set.delete(reader)
        if (set.size === 0) readers.delete(channel)
      }
    },

    setFlag(name, ttlSeconds) {
      if (available) flags.set(name, now() + ttlSeconds * 1000)
      for (const [known, untilMs] of flags) if (untilMs <= now()) flags.delete(known)
      return Promise.resolve()
    },

    hasFlag: (name) => Promise.resolve(available && (flags.get(name) ?? 0) > now()),

    addCounts(additions) {
      if (!available) return Promise.resolve(null)
      for (const [name, { untilMs }] of counts) if (untilMs <= now()) counts.delete(name)
      const values = additions.map(({ name, by, ttlSeconds }) => {
        const value = (counts.get(name)?.value ?? 0) + by
        if (by !== 0) counts.set(name, { value, untilMs: now() + ttlSeconds * 1000 })
        return value
      })
      return Promise.resolve(values)
    },

    enter(name, member, ttlSeconds) {
      if (!available) return Promise.resolve(null)
      const set = sets.get(name) ?? new Map<string, number>()
      for (const [known, untilMs] of set) if (untilMs <= now()) set.delete(known)
      sets.set(name, set.set(member, now() + ttlSeconds * 1000))
      return Promise.resolve(set.size)
    },

    leave(name, member) {
      const set = available ? sets.get(name) : undefined
      set?.delete(member)
      if (set?.size === 0) sets.delete(name)
      return Promise.resolve()
    },

    forget(names) {
      if (available) for (const name of names) flags.delete(name)
      return Promise.resolve()
    },

    setAvailable(next) {
      available = next
      if (!next) endAll()
    },
    restart() {
      flags.clear()
      counts.clear()
      sets.clear()
      endAll()
    },
  }
}
