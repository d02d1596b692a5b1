import { RedisError } from './reply.ts'

export interface StreamId {
  ms: number
  seq: number
}

export interface StreamEntry {
  id: StreamId
  fields: string[]
}

export interface Stream {
  entries: StreamEntry[]
  lastId: StreamId
}

export interface Values {
  string: string
  hash: Map<string, string>
  list: string[]
  set: Set<string>
  zset: Map<string, number>
  stream: Stream
}

export type Type = keyof Values

interface Entry {
  type: Type
  value: Values[Type]
  /** Unix ms; null: stays. */
  expiresAtMs: number | null
}

export interface Store {
  readonly nowMs: () => number
  /** The value when it is of this type, undefined when there is none. Throws WRONGTYPE. */
  get<T extends Type>(key: string, type: T): Values[T] | undefined
  /** As `get`, making an empty value when there is none. */
  ensure<T extends Type>(key: string, type: T, make: () => Values[T]): Values[T]
  /** Replaces whatever is there; keeps the expiry only when asked. */
  set<T extends Type>(key: string, type: T, value: Values[T], options?: { keepExpiry?: boolean }): void
  delete(key: string): boolean
  /** Removes the key when its collection became empty: Redis knows no empty ones (streams excepted). */
  tidy(key: string): void
  type(key: string): Type | undefined
  expiresAtMs(key: string): number | null | undefined
  expireAt(key: string, atMs: number | null): boolean
  keys(): string[]
  clear(): void
  /** Called before a command that adds; throws OOM when the cap is reached. */
  reserve(bytes: number): void
}

export function createStore(options: { maxBytes: number; now: () => number }): Store {
  const entries = new Map<string, Entry>()
  // Never less than what is held: an exact count is only made when it passes the cap.
  let estimate = 0

  const live = (key: string): Entry | undefined => {
    const entry = entries.get(key)
    if (entry?.expiresAtMs != null && entry.expiresAtMs <= options.now()) {
      entries.delete(key)
      return undefined
    }
    return entry
  }

  const store: Store = {
    nowMs: options.now,
    get<T extends Type>(key: string, type: T) {
      const entry = live(key)
      if (!entry) return undefined
      if (entry.type !== type)
        throw new RedisError('WRONGTYPE Operation against a key holding the wrong kind of value')
      return entry.value as Values[T]
    },
    ensure(key, type, make) {
      const known = store.get(key, type)
      if (known !== undefined) return known
      const value = make()
      entries.set(key, { type, value, expiresAtMs: null })
      return value
    },
    set(key, type, value, { keepExpiry = false } = {}) {
      const expiresAtMs = keepExpiry ? (live(key)?.expiresAtMs ?? null) : null
      entries.set(key, { type, value, expiresAtMs })
    },
    delete: (key) => live(key) !== undefined && entries.delete(key),
    tidy(key) {
      const entry = entries.get(key)
      if (!entry || entry.type === 'string' || entry.type === 'stream') return
      const size = Array.isArray(entry.value) ? entry.value.length : (entry.value as Set<string>).size
      if (size === 0) entries.delete(key)
    },
    type: (key) => live(key)?.type,
    expiresAtMs: (key) => live(key)?.expiresAtMs,
    expireAt(key, atMs) {
      const entry = live(key)
      if (!entry) return false
      entry.expiresAtMs = atMs
      if (atMs !== null && atMs <= options.now()) entries.delete(key)
      return true
    },
    keys: () => [...entries.keys()].filter((key) => live(key) !== undefined),
    clear() {
      entries.clear()
      estimate = 0
    },
    reserve(bytes) {
      estimate += bytes
      if (estimate <= options.maxBytes) return
      estimate = bytes
      for (const key of store.keys()) estimate += measure(key, entries.get(key))
      if (estimate <= options.maxBytes) return
      estimate -= bytes
      throw new RedisError("OOM command not allowed when used memory > 'maxmemory'.")
    },
  }
  return store
}

/** What one key holds, in characters plus 32 for each element: close enough for a cap. */
function measure(key: string, entry: Entry | undefined): number {
  if (!entry) return 0
  let size = key.length + 32
  const { value } = entry
  if (typeof value === 'string') return size + value.length
  if (Array.isArray(value)) for (const item of value) size += item.length + 32
  else if (value instanceof Set) for (const item of value) size += item.length + 32
  else if (value instanceof Map)
    for (const [name, item] of value) size += name.length + String(item).length + 32
  else for (const item of value.entries) size += item.fields.reduce((sum, field) => sum + field.length, 32)
  return size
}
