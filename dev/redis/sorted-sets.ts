import { formatFloat, Options, SYNTAX_ERROR, sliceBounds, toFloat, toInteger } from './arguments.ts'
import type { Commands } from './command.ts'
import { RedisError, type Reply } from './reply.ts'
import type { Store } from './store.ts'

type Pair = [member: string, score: number]

const open = (store: Store, key = '') => store.ensure(key, 'zset', () => new Map())

/** By score, then by member: sorted on reading, which is quick enough for the few thousand members of a local stack. */
function sorted(store: Store, key = ''): Pair[] {
  const pairs = [...(store.get(key, 'zset') ?? [])]
  return pairs.sort(([a, x], [b, y]) => x - y || Buffer.compare(Buffer.from(a), Buffer.from(b)))
}

const scoreTest = (low: string | undefined, high: string | undefined): ((score: number) => boolean) => {
  const bound = (text = '') => ({
    open: text.startsWith('('),
    value: toFloat(text.replace(/^\(/, ''), 'ERR min or max is not a float'),
  })
  const [from, to] = [bound(low), bound(high)]
  return (score) =>
    (from.open ? score > from.value : score >= from.value) && (to.open ? score < to.value : score <= to.value)
}

const lexTest = (low = '', high = ''): ((member: string) => boolean) => {
  for (const bound of [low, high]) {
    if (!/^([-+]$|[[(])/.test(bound)) throw new RedisError('ERR min or max not valid string range item')
  }
  const above = (m: string) =>
    low === '-' || (low !== '+' && (low[0] === '[' ? m >= low.slice(1) : m > low.slice(1)))
  const below = (m: string) =>
    high === '+' || (high !== '-' && (high[0] === '[' ? m <= high.slice(1) : m < high.slice(1)))
  return (member) => above(member) && below(member)
}

const flatten = (pairs: Pair[], withScores: boolean): Reply =>
  pairs.flatMap(([member, score]) => (withScores ? [member, formatFloat(score)] : [member]))

function range(store: Store, args: string[], preset: { by?: 'SCORE'; reversed?: boolean } = {}): Reply {
  const [key, start, stop] = args
  const options = new Options(args, 3)
  let by: 'INDEX' | 'SCORE' | 'LEX' = preset.by ?? 'INDEX'
  let reversed = preset.reversed ?? false
  let withScores = false
  let limit: [number, number] | null = null
  while (!options.done) {
    const name = options.name()
    if (name === 'WITHSCORES') withScores = true
    else if (name === 'LIMIT') limit = [options.integer(), options.integer()]
    else if (name === 'BYSCORE' && !preset.by) by = 'SCORE'
    else if (name === 'BYLEX' && !preset.by) by = 'LEX'
    else if (name === 'REV') reversed = true
    else throw new RedisError(SYNTAX_ERROR)
  }
  if (limit && by === 'INDEX') {
    throw new RedisError(
      'ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX',
    )
  }
  const pairs = sorted(store, key)
  if (reversed) pairs.reverse()
  if (by === 'INDEX') {
    return flatten(pairs.slice(...sliceBounds(toInteger(start), toInteger(stop), pairs.length)), withScores)
  }
  const [low, high] = reversed ? [stop, start] : [start, stop]
  const byScore = by === 'SCORE' ? scoreTest(low, high) : null
  const byMember = by === 'LEX' ? lexTest(low, high) : null
  const found = pairs.filter(([member, score]) => byScore?.(score) ?? byMember?.(member))
  const [offset, count] = limit ?? [0, -1]
  return flatten(offset < 0 ? [] : found.slice(offset, count < 0 ? undefined : offset + count), withScores)
}

function add(store: Store, args: string[]): Reply {
  const key = args[0]
  const options = new Options(args, 1)
  const flags = new Set<string>()
  while (/^(NX|XX|GT|LT|CH|INCR)$/i.test(options.peek() ?? '')) flags.add(options.name())
  const rest = options.rest()
  if (rest.length === 0 || rest.length % 2 !== 0) throw new RedisError(SYNTAX_ERROR)
  if (flags.has('NX') && flags.has('XX'))
    throw new RedisError('ERR XX and NX options at the same time are not compatible')
  if ((flags.has('GT') && (flags.has('LT') || flags.has('NX'))) || (flags.has('LT') && flags.has('NX'))) {
    throw new RedisError('ERR GT, LT, and/or NX options at the same time are not compatible')
  }
  if (flags.has('INCR') && rest.length > 2)
    throw new RedisError('ERR INCR option supports a single increment-element pair')
  const pairs: Pair[] = []
  for (let i = 0; i < rest.length; i += 2) pairs.push([rest[i + 1] ?? '', toFloat(rest[i])])

  const known = store.get(key ?? '', 'zset')
  const zset = known ?? (flags.has('XX') ? new Map<string, number>() : open(store, key))
  let [added, changed] = [0, 0]
  let result: number | null = null
  for (const [member, given] of pairs) {
    const old = zset.get(member)
    if ((flags.has('NX') && old !== undefined) || (flags.has('XX') && old === undefined)) continue
    const score = flags.has('INCR') ? (old ?? 0) + given : given
    if (Number.isNaN(score)) throw new RedisError('ERR resulting score is not a number (NaN)')
    if (old !== undefined && ((flags.has('GT') && score <= old) || (flags.has('LT') && score >= old)))
      continue
    zset.set(member, score)
    result = score
    if (old === undefined) added += 1
    else if (old !== score) changed += 1
  }
  if (flags.has('INCR')) return result === null ? null : formatFloat(result)
  return flags.has('CH') ? added + changed : added
}

function removeWhere(store: Store, key: string, test: (pair: Pair, index: number) => boolean): number {
  const gone = sorted(store, key).filter(test)
  const zset = store.get(key, 'zset')
  for (const [member] of gone) zset?.delete(member)
  store.tidy(key)
  return gone.length
}

function rank(store: Store, [key, member]: string[], reversed: boolean): Reply {
  const pairs = sorted(store, key)
  const at = pairs.findIndex(([name]) => name === member)
  return at < 0 ? null : reversed ? pairs.length - 1 - at : at
}

function popEnd(store: Store, [key = '', countText]: string[], fromEnd: boolean): Reply {
  const count = countText === undefined ? 1 : toInteger(countText)
  if (count < 0) throw new RedisError('ERR value is out of range, must be positive')
  const pairs = sorted(store, key)
  if (fromEnd) pairs.reverse()
  const taken = pairs.slice(0, count)
  for (const [member] of taken) store.get(key, 'zset')?.delete(member)
  store.tidy(key)
  return flatten(taken, true)
}

export const sortedSets: Commands = {
  zadd: { arity: [3, null], grows: true, run: add },
  zincrby: {
    arity: [3, 3],
    grows: true,
    run: (store, [key = '', by = '', member = '']) => add(store, [key, 'INCR', by, member]),
  },
  zrange: { arity: [3, null], run: (store, args) => range(store, args) },
  zrevrange: { arity: [3, 4], run: (store, args) => range(store, args, { reversed: true }) },
  zrangebyscore: { arity: [3, null], run: (store, args) => range(store, args, { by: 'SCORE' }) },
  zrevrangebyscore: {
    arity: [3, null],
    run: (store, args) => range(store, args, { by: 'SCORE', reversed: true }),
  },
  zrem: {
    arity: [2, null],
    run(store, [key = '', ...members]) {
      const zset = store.get(key, 'zset')
      const removed = members.filter((member) => zset?.delete(member)).length
      store.tidy(key)
      return removed
    },
  },
  zcard: { arity: [1, 1], run: (store, [key = '']) => store.get(key, 'zset')?.size ?? 0 },
  zscore: {
    arity: [2, 2],
    run(store, [key = '', member = '']) {
      const score = store.get(key, 'zset')?.get(member)
      return score === undefined ? null : formatFloat(score)
    },
  },
  zcount: {
    arity: [3, 3],
    run(store, [key, low, high]) {
      const test = scoreTest(low, high)
      return sorted(store, key).filter(([, score]) => test(score)).length
    },
  },
  zrank: { arity: [2, 2], run: (store, args) => rank(store, args, false) },
  zrevrank: { arity: [2, 2], run: (store, args) => rank(store, args, true) },
  zremrangebyscore: {
    arity: [3, 3],
    run(store, [key = '', low, high]) {
      const test = scoreTest(low, high)
      return removeWhere(store, key, ([, score]) => test(score))
    },
  },
  zremrangebyrank: {
    arity: [3, 3],
    run(store, [key = '', start, stop]) {
      const length = store.get(key, 'zset')?.size ?? 0
      const [from, to] = sliceBounds(toInteger(start), toInteger(stop), length)
      return removeWhere(store, key, (_pair, index) => index >= from && index < to)
    },
  },
  zpopmin: { arity: [1, 2], run: (store, args) => popEnd(store, args, false) },
  zpopmax: { arity: [1, 2], run: (store, args) => popEnd(store, args, true) },
}
