import { addInt64, toBigInt } from './arguments.ts'
import type { Commands } from './command.ts'
import { OK, RedisError } from './reply.ts'
import type { Store } from './store.ts'

const read = (store: Store, key = '') => store.get(key, 'hash')
const open = (store: Store, key = '') => store.ensure(key, 'hash', () => new Map())

function setPairs(store: Store, args: string[], command: string): number {
  if (args.length % 2 === 0) throw new RedisError(`ERR wrong number of arguments for '${command}' command`)
  const hash = open(store, args[0])
  let added = 0
  for (let i = 1; i < args.length; i += 2) {
    const field = args[i] ?? ''
    if (!hash.has(field)) added += 1
    hash.set(field, args[i + 1] ?? '')
  }
  return added
}

export const hashes: Commands = {
  hset: { arity: [3, null], grows: true, run: (store, args) => setPairs(store, args, 'hset') },
  hmset: {
    arity: [3, null],
    grows: true,
    run(store, args) {
      setPairs(store, args, 'hmset')
      return OK
    },
  },
  hsetnx: {
    arity: [3, 3],
    grows: true,
    run(store, [key, field = '', value = '']) {
      if (read(store, key)?.has(field)) return 0
      open(store, key).set(field, value)
      return 1
    },
  },
  hget: { arity: [2, 2], run: (store, [key, field = '']) => read(store, key)?.get(field) ?? null },
  hmget: {
    arity: [2, null],
    run(store, [key, ...fields]) {
      const hash = read(store, key)
      return fields.map((field) => hash?.get(field) ?? null)
    },
  },
  hgetall: { arity: [1, 1], run: (store, [key]) => [...(read(store, key) ?? [])].flat() },
  hkeys: { arity: [1, 1], run: (store, [key]) => [...(read(store, key)?.keys() ?? [])] },
  hvals: { arity: [1, 1], run: (store, [key]) => [...(read(store, key)?.values() ?? [])] },
  hlen: { arity: [1, 1], run: (store, [key]) => read(store, key)?.size ?? 0 },
  hexists: { arity: [2, 2], run: (store, [key, field = '']) => (read(store, key)?.has(field) ? 1 : 0) },
  hdel: {
    arity: [2, null],
    run(store, [key = '', ...fields]) {
      const hash = read(store, key)
      const removed = fields.filter((field) => hash?.delete(field)).length
      store.tidy(key)
      return removed
    },
  },
  hincrby: {
    arity: [3, 3],
    grows: true,
    run(store, [key, field = '', by]) {
      const amount = toBigInt(by)
      const sum = addInt64(
        toBigInt(read(store, key)?.get(field) ?? '0', 'ERR hash value is not an integer'),
        amount,
      )
      open(store, key).set(field, String(sum))
      return Number(sum)
    },
  },
}
