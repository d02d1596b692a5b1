import { sliceBounds, toInteger } from './arguments.ts'
import type { Commands } from './command.ts'
import { OK, RedisError, type Reply } from './reply.ts'
import type { Store } from './store.ts'

const read = (store: Store, key = '') => store.get(key, 'list')
const open = (store: Store, key = '') => store.ensure(key, 'list', () => [])

function pop(
  store: Store,
  [key = '', countText]: string[],
  take: (list: string[]) => string | undefined,
): Reply {
  const count =
    countText === undefined ? null : toInteger(countText, 'ERR value is out of range, must be positive')
  if (count !== null && count < 0) throw new RedisError('ERR value is out of range, must be positive')
  const list = read(store, key)
  if (!list) return null
  const taken: string[] = []
  while (taken.length < (count ?? 1) && list.length > 0) taken.push(take(list) ?? '')
  store.tidy(key)
  return count === null ? (taken[0] ?? null) : taken
}

export const lists: Commands = {
  lpush: {
    arity: [2, null],
    grows: true,
    run: (store, [key, ...values]) => open(store, key).unshift(...values.reverse()),
  },
  rpush: {
    arity: [2, null],
    grows: true,
    run: (store, [key, ...values]) => open(store, key).push(...values),
  },
  lpop: { arity: [1, 2], run: (store, args) => pop(store, args, (list) => list.shift()) },
  rpop: { arity: [1, 2], run: (store, args) => pop(store, args, (list) => list.pop()) },
  llen: { arity: [1, 1], run: (store, [key]) => read(store, key)?.length ?? 0 },
  lindex: { arity: [2, 2], run: (store, [key, index]) => read(store, key)?.at(toInteger(index)) ?? null },
  lrange: {
    arity: [3, 3],
    run(store, [key, start, stop]) {
      const list = read(store, key) ?? []
      return list.slice(...sliceBounds(toInteger(start), toInteger(stop), list.length))
    },
  },
  ltrim: {
    arity: [3, 3],
    run(store, [key = '', start, stop]) {
      const list = read(store, key)
      if (!list) return OK
      const kept = list.slice(...sliceBounds(toInteger(start), toInteger(stop), list.length))
      list.splice(0, list.length, ...kept)
      store.tidy(key)
      return OK
    },
  },
  lset: {
    arity: [3, 3],
    grows: true,
    run(store, [key, indexText, value = '']) {
      const list = read(store, key)
      if (!list) throw new RedisError('ERR no such key')
      const index = toInteger(indexText)
      const at = index < 0 ? list.length + index : index
      if (at < 0 || at >= list.length) throw new RedisError('ERR index out of range')
      list[at] = value
      return OK
    },
  },
  lrem: {
    arity: [3, 3],
    run(store, [key = '', countText, value]) {
      const list = read(store, key)
      const count = toInteger(countText)
      if (!list) return 0
      const limit = count === 0 ? list.length : Math.abs(count)
      let removed = 0
      while (removed < limit) {
        const at = count < 0 ? list.lastIndexOf(value ?? '') : list.indexOf(value ?? '')
        if (at < 0) break
        list.splice(at, 1)
        removed += 1
      }
      store.tidy(key)
      return removed
    },
  },
}
