import type { Commands } from './command.ts'
import type { Store } from './store.ts'

const EMPTY: ReadonlySet<string> = new Set()
const read = (store: Store, key = ''): ReadonlySet<string> => store.get(key, 'set') ?? EMPTY

export const sets: Commands = {
  sadd: {
    arity: [2, null],
    grows: true,
    run(store, [key = '', ...members]) {
      const set = store.ensure(key, 'set', () => new Set())
      const before = set.size
      for (const member of members) set.add(member)
      return set.size - before
    },
  },
  srem: {
    arity: [2, null],
    run(store, [key = '', ...members]) {
      const set = store.get(key, 'set')
      const removed = members.filter((member) => set?.delete(member)).length
      store.tidy(key)
      return removed
    },
  },
  smembers: { arity: [1, 1], run: (store, [key]) => [...read(store, key)] },
  sismember: { arity: [2, 2], run: (store, [key, member = '']) => (read(store, key).has(member) ? 1 : 0) },
  smismember: {
    arity: [2, null],
    run(store, [key, ...members]) {
      const set = read(store, key)
      return members.map((member) => (set.has(member) ? 1 : 0))
    },
  },
  scard: { arity: [1, 1], run: (store, [key]) => read(store, key).size },
  sinter: {
    arity: [1, null],
    run(store, [first, ...others]) {
      const sets = others.map((key) => read(store, key))
      return [...read(store, first)].filter((member) => sets.every((set) => set.has(member)))
    },
  },
  sunion: {
    arity: [1, null],
    run: (store, names) => [...new Set(names.flatMap((key) => [...read(store, key)]))],
  },
  sdiff: {
    arity: [1, null],
    run(store, [first, ...others]) {
      const sets = others.map((key) => read(store, key))
      return [...read(store, first)].filter((member) => !sets.some((set) => set.has(member)))
    },
  },
}
