import {
  addInt64,
  formatFloat,
  Options,
  SYNTAX_ERROR,
  sliceBounds,
  toBigInt,
  toFloat,
  toInteger,
} from './arguments.ts'
import type { Commands } from './command.ts'
import { OK, RedisError } from './reply.ts'
import type { Store } from './store.ts'

const read = (store: Store, key = '') => store.get(key, 'string')

function increment(store: Store, key: string, by: bigint): number {
  const sum = addInt64(toBigInt(read(store, key) ?? '0'), by)
  store.set(key, 'string', String(sum), { keepExpiry: true })
  return Number(sum)
}

/** Expiry option of SET, GETEX: unix ms. */
function expiryOf(name: string, options: Options, nowMs: number, command: string): number {
  const amount = options.integer()
  const at = { EX: nowMs + amount * 1000, PX: nowMs + amount, EXAT: amount * 1000, PXAT: amount }[name]
  if (at === undefined) throw new RedisError(SYNTAX_ERROR)
  if (amount <= 0) throw new RedisError(`ERR invalid expire time in '${command}' command`)
  return at
}

export const strings: Commands = {
  get: { arity: [1, 1], run: (store, [key]) => read(store, key) ?? null },
  set: {
    arity: [2, null],
    grows: true,
    run(store, args) {
      const [key = '', value = ''] = args
      const options = new Options(args, 2)
      let condition: string | undefined
      let expiresAtMs: number | undefined
      let keepExpiry = false
      let returnsOld = false
      while (!options.done) {
        const name = options.name()
        if ((name === 'NX' || name === 'XX') && condition === undefined) condition = name
        else if (name === 'GET') returnsOld = true
        else if (name === 'KEEPTTL' && expiresAtMs === undefined) keepExpiry = true
        else if (!keepExpiry && expiresAtMs === undefined)
          expiresAtMs = expiryOf(name, options, store.nowMs(), 'set')
        else throw new RedisError(SYNTAX_ERROR)
      }
      const old = returnsOld ? (read(store, key) ?? null) : null
      const exists = store.type(key) !== undefined
      if ((condition === 'NX' && exists) || (condition === 'XX' && !exists)) return old
      store.set(key, 'string', value, { keepExpiry })
      if (expiresAtMs !== undefined) store.expireAt(key, expiresAtMs)
      return returnsOld ? old : OK
    },
  },
  setex: {
    arity: [3, 3],
    grows: true,
    run(store, [key = '', seconds, value = '']) {
      const amount = toInteger(seconds)
      if (amount <= 0) throw new RedisError("ERR invalid expire time in 'setex' command")
      store.set(key, 'string', value)
      store.expireAt(key, store.nowMs() + amount * 1000)
      return OK
    },
  },
  setnx: {
    arity: [2, 2],
    grows: true,
    run(store, [key = '', value = '']) {
      if (store.type(key) !== undefined) return 0
      store.set(key, 'string', value)
      return 1
    },
  },
  getset: {
    arity: [2, 2],
    grows: true,
    run(store, [key = '', value = '']) {
      const old = read(store, key) ?? null
      store.set(key, 'string', value)
      return old
    },
  },
  getdel: {
    arity: [1, 1],
    run(store, [key = '']) {
      const old = read(store, key) ?? null
      store.delete(key)
      return old
    },
  },
  getex: {
    arity: [1, null],
    run(store, args) {
      const [key = ''] = args
      const options = new Options(args, 1)
      const value = read(store, key)
      if (!options.done) {
        const name = options.name()
        const at = name === 'PERSIST' ? null : expiryOf(name, options, store.nowMs(), 'getex')
        if (!options.done) throw new RedisError(SYNTAX_ERROR)
        if (value !== undefined) store.expireAt(key, at)
      }
      return value ?? null
    },
  },
  mget: {
    arity: [1, null],
    run: (store, keys) =>
      keys.map((key) => (store.type(key) === 'string' ? (read(store, key) ?? null) : null)),
  },
  mset: {
    arity: [2, null],
    grows: true,
    run(store, args) {
      if (args.length % 2 !== 0) throw new RedisError("ERR wrong number of arguments for 'mset' command")
      for (let i = 0; i < args.length; i += 2) store.set(args[i] ?? '', 'string', args[i + 1] ?? '')
      return OK
    },
  },
  incr: { arity: [1, 1], grows: true, run: (store, [key = '']) => increment(store, key, 1n) },
  decr: { arity: [1, 1], grows: true, run: (store, [key = '']) => increment(store, key, -1n) },
  incrby: { arity: [2, 2], grows: true, run: (store, [key = '', by]) => increment(store, key, toBigInt(by)) },
  decrby: {
    arity: [2, 2],
    grows: true,
    run: (store, [key = '', by]) => increment(store, key, -toBigInt(by)),
  },
  incrbyfloat: {
    arity: [2, 2],
    grows: true,
    run(store, [key = '', by]) {
      const sum = toFloat(read(store, key) ?? '0') + toFloat(by)
      if (!Number.isFinite(sum)) throw new RedisError('ERR increment would produce NaN or Infinity')
      store.set(key, 'string', formatFloat(sum), { keepExpiry: true })
      return formatFloat(sum)
    },
  },
  append: {
    arity: [2, 2],
    grows: true,
    run(store, [key = '', value = '']) {
      const text = (read(store, key) ?? '') + value
      store.set(key, 'string', text, { keepExpiry: true })
      return Buffer.byteLength(text)
    },
  },
  strlen: { arity: [1, 1], run: (store, [key]) => Buffer.byteLength(read(store, key) ?? '') },
  getrange: {
    arity: [3, 3],
    run(store, [key, start, stop]) {
      const bytes = Buffer.from(read(store, key) ?? '')
      return bytes.subarray(...sliceBounds(toInteger(start), toInteger(stop), bytes.length)).toString()
    },
  },
}
