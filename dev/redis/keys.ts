import { globMatcher, Options, SYNTAX_ERROR, toInteger } from './arguments.ts'
import type { Commands } from './command.ts'
import { OK, RedisError, Status } from './reply.ts'
import type { Store } from './store.ts'

function remaining(store: Store, key: string): number {
  const at = store.expiresAtMs(key)
  return at === undefined ? -2 : at === null ? -1 : at - store.nowMs()
}

function expire(store: Store, args: string[], toMs: (amount: number) => number): number {
  const [key = '', amount, condition, extra] = args
  const at = toMs(toInteger(amount))
  const flag = condition?.toUpperCase()
  if ((flag !== undefined && !['NX', 'XX', 'GT', 'LT'].includes(flag)) || extra !== undefined) {
    throw new RedisError(flag && !extra ? `ERR Unsupported option ${condition}` : SYNTAX_ERROR)
  }
  const old = store.expiresAtMs(key)
  if (old === undefined) return 0
  const refused =
    (flag === 'NX' && old !== null) ||
    (flag === 'XX' && old === null) ||
    (flag === 'GT' && (old === null || at <= old)) ||
    (flag === 'LT' && old !== null && at >= old)
  return !refused && store.expireAt(key, at) ? 1 : 0
}

export const keys: Commands = {
  del: { arity: [1, null], run: (store, names) => names.filter((name) => store.delete(name)).length },
  unlink: { arity: [1, null], run: (store, names) => names.filter((name) => store.delete(name)).length },
  exists: { arity: [1, null], run: (store, names) => names.filter((name) => store.type(name)).length },
  type: { arity: [1, 1], run: (store, [key = '']) => new Status(store.type(key) ?? 'none') },
  expire: { arity: [2, 3], run: (store, args) => expire(store, args, (n) => store.nowMs() + n * 1000) },
  pexpire: { arity: [2, 3], run: (store, args) => expire(store, args, (n) => store.nowMs() + n) },
  expireat: { arity: [2, 3], run: (store, args) => expire(store, args, (n) => n * 1000) },
  pexpireat: { arity: [2, 3], run: (store, args) => expire(store, args, (n) => n) },
  persist: {
    arity: [1, 1],
    run(store, [key = '']) {
      if (store.expiresAtMs(key) == null) return 0
      store.expireAt(key, null)
      return 1
    },
  },
  // Rounded as Redis does: 9.6 s left is 10.
  ttl: {
    arity: [1, 1],
    run(store, [key = '']) {
      const ms = remaining(store, key)
      return ms < 0 ? ms : Math.floor((ms + 500) / 1000)
    },
  },
  pttl: { arity: [1, 1], run: (store, [key = '']) => remaining(store, key) },
  rename: {
    arity: [2, 2],
    run(store, [from = '', to = '']) {
      const type = store.type(from)
      if (type === undefined) throw new RedisError('ERR no such key')
      const value = store.get(from, type)
      const expiresAtMs = store.expiresAtMs(from) ?? null
      store.delete(from)
      if (value !== undefined) store.set(to, type, value)
      store.expireAt(to, expiresAtMs)
      return OK
    },
  },
  keys: { arity: [1, 1], run: (store, [pattern = '']) => store.keys().filter(globMatcher(pattern)) },
  scan: {
    arity: [1, null],
    run(store, args) {
      const [cursorText = ''] = args
      if (!/^\d{1,18}$/.test(cursorText)) throw new RedisError('ERR invalid cursor')
      const cursor = Number(cursorText)
      const options = new Options(args, 1)
      let [count, type] = [10, '']
      let matches = (_key: string): boolean => true
      while (!options.done) {
        const name = options.name()
        if (name === 'MATCH') matches = globMatcher(options.value())
        else if (name === 'COUNT') count = options.integer()
        else if (name === 'TYPE') type = options.value().toLowerCase()
        else throw new RedisError(SYNTAX_ERROR)
      }
      if (count < 1) throw new RedisError(SYNTAX_ERROR)
      const names = store.keys()
      const page = names
        .slice(cursor, cursor + count)
        .filter((key) => matches(key) && (!type || store.type(key) === type))
      return [cursor + count < names.length ? String(cursor + count) : '0', page]
    },
  },
  dbsize: { arity: [0, 0], run: (store) => store.keys().length },
  flushdb: {
    arity: [0, 1],
    run(store) {
      store.clear()
      return OK
    },
  },
  flushall: {
    arity: [0, 1],
    run(store) {
      store.clear()
      return OK
    },
  },
  ping: { arity: [0, 1], run: (_store, [text]) => text ?? new Status('PONG') },
  echo: { arity: [1, 1], run: (_store, [text = '']) => text },
  time: {
    arity: [0, 0],
    run(store) {
      const ms = store.nowMs()
      return [String(Math.floor(ms / 1000)), String(Math.floor(ms % 1000) * 1000)]
    },
  },
}
