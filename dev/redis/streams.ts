import { Options, SYNTAX_ERROR } from './arguments.ts'
import type { Commands } from './command.ts'
import { RedisError, type Reply } from './reply.ts'
import type { Store, Stream, StreamEntry, StreamId } from './store.ts'

const INVALID_ID = 'ERR Invalid stream ID specified as stream command argument'
const MAX_SEQ = Number.MAX_SAFE_INTEGER

const compare = (a: StreamId, b: StreamId) => a.ms - b.ms || a.seq - b.seq
const format = (id: StreamId) => `${id.ms}-${id.seq}`
const describe = (entry: StreamEntry): Reply => [format(entry.id), entry.fields]
const read = (store: Store, key = '') => store.get(key, 'stream')

/** `5-1`, or `5` with the given sequence. */
function parseId(text: string, seq: number): StreamId {
  const match = /^(\d{1,15})(?:-(\d{1,15}))?$/.exec(text)
  if (!match) throw new RedisError(INVALID_ID)
  return { ms: Number(match[1]), seq: match[2] === undefined ? seq : Number(match[2]) }
}

function nextId(text: string, last: StreamId, nowMs: number): StreamId {
  if (text === '*') return nowMs > last.ms ? { ms: nowMs, seq: 0 } : { ms: last.ms, seq: last.seq + 1 }
  const open = /^(\d{1,15})-\*$/.exec(text)
  const id = open ? { ms: Number(open[1]), seq: 0 } : parseId(text, 0)
  if (open && id.ms === last.ms) id.seq = last.seq + 1
  if (id.ms === 0 && id.seq === 0)
    throw new RedisError('ERR The ID specified in XADD must be greater than 0-0')
  if (compare(id, last) <= 0) {
    throw new RedisError('ERR The ID specified in XADD is equal or smaller than the target stream top item')
  }
  return id
}

interface Trim {
  kind: 'MAXLEN' | 'MINID'
  threshold: string
}

/** `[=|~] threshold [LIMIT n]`. The approximate form is trimmed exactly too: it promises only not to trim more. */
function parseTrim(kind: 'MAXLEN' | 'MINID', options: Options): Trim {
  const approximate = options.peek() === '~'
  if (approximate || options.peek() === '=') options.value()
  const threshold = options.value()
  if (kind === 'MAXLEN' && !/^\d{1,15}$/.test(threshold)) {
    throw new RedisError(
      /^-\d+$/.test(threshold)
        ? 'ERR The MAXLEN argument must be >= 0.'
        : 'ERR value is not an integer or out of range',
    )
  }
  if (options.peek()?.toUpperCase() === 'LIMIT') {
    options.value()
    options.integer()
    if (!approximate)
      throw new RedisError('ERR syntax error, LIMIT cannot be used without the special ~ option')
  }
  return { kind, threshold }
}

function trim(stream: Stream, { kind, threshold }: Trim): number {
  const before = stream.entries.length
  if (kind === 'MAXLEN') stream.entries.splice(0, Math.max(0, before - Number(threshold)))
  else {
    const min = parseId(threshold, 0)
    stream.entries = stream.entries.filter((entry) => compare(entry.id, min) >= 0)
  }
  return before - stream.entries.length
}

function add(store: Store, args: string[]): Reply {
  const [key = ''] = args
  const options = new Options(args, 1)
  let creates = true
  let trimming: Trim | null = null
  for (;;) {
    const name = options.peek()?.toUpperCase()
    if (name === 'NOMKSTREAM') creates = false
    else if (name !== 'MAXLEN' && name !== 'MINID') break
    options.value()
    if (name === 'MAXLEN' || name === 'MINID') trimming = parseTrim(name, options)
  }
  const idText = options.value()
  const fields = options.rest()
  if (fields.length === 0 || fields.length % 2 !== 0)
    throw new RedisError("ERR wrong number of arguments for 'xadd' command")
  const known = read(store, key)
  if (!known && !creates) return null
  const id = nextId(idText, known?.lastId ?? { ms: 0, seq: 0 }, store.nowMs())
  const stream = store.ensure(key, 'stream', () => ({ entries: [], lastId: { ms: 0, seq: 0 } }))
  stream.entries.push({ id, fields })
  stream.lastId = id
  if (trimming) trim(stream, trimming)
  return format(id)
}

function range(store: Store, args: string[], reversed: boolean): Reply {
  const [key, first = '', second = ''] = args
  const options = new Options(args, 3)
  let count = Number.POSITIVE_INFINITY
  while (!options.done) {
    if (options.name() !== 'COUNT') throw new RedisError(SYNTAX_ERROR)
    count = Math.max(0, options.integer())
  }
  const [low, high] = reversed ? [second, first] : [first, second]
  const bound = (text: string, seq: number) => {
    if (text === '-') return { id: { ms: 0, seq: 0 }, open: false }
    if (text === '+') return { id: { ms: Number.MAX_SAFE_INTEGER, seq: MAX_SEQ }, open: false }
    const open = text.startsWith('(')
    return { id: parseId(open ? text.slice(1) : text, seq), open }
  }
  const from = bound(low, 0)
  const to = bound(high, MAX_SEQ)
  const found = (read(store, key)?.entries ?? []).filter(({ id }) => {
    const above = compare(id, from.id)
    const below = compare(id, to.id)
    return (from.open ? above > 0 : above >= 0) && (to.open ? below < 0 : below <= 0)
  })
  if (reversed) found.reverse()
  return found.slice(0, count).map(describe)
}

function readNew(store: Store, args: string[]): Reply {
  const options = new Options(args, 0)
  let count = Number.POSITIVE_INFINITY
  for (;;) {
    const name = options.name()
    if (name === 'STREAMS') break
    if (name === 'COUNT') count = Math.max(1, options.integer())
    else if (name === 'BLOCK') throw new RedisError('ERR BLOCK is not supported over REST')
    else throw new RedisError(SYNTAX_ERROR)
  }
  const rest = options.rest()
  if (rest.length === 0 || rest.length % 2 !== 0) {
    throw new RedisError(
      "ERR Unbalanced 'xread' list of streams: for each stream key an ID or '$' must be specified.",
    )
  }
  const half = rest.length / 2
  const found: Reply[] = []
  for (let i = 0; i < half; i += 1) {
    const stream = read(store, rest[i])
    const text = rest[half + i] ?? ''
    if (text === '$') continue
    const after = parseId(text, 0)
    const entries = (stream?.entries ?? []).filter(({ id }) => compare(id, after) > 0).slice(0, count)
    if (entries.length > 0) found.push([rest[i] ?? '', entries.map(describe)])
  }
  return found.length > 0 ? found : null
}

export const streams: Commands = {
  xadd: { arity: [4, null], grows: true, run: add },
  xrange: { arity: [3, 5], run: (store, args) => range(store, args, false) },
  xrevrange: { arity: [3, 5], run: (store, args) => range(store, args, true) },
  xlen: { arity: [1, 1], run: (store, [key]) => read(store, key)?.entries.length ?? 0 },
  xread: { arity: [3, null], run: readNew },
  xdel: {
    arity: [2, null],
    run(store, [key, ...texts]) {
      const ids = texts.map((text) => parseId(text, 0))
      const stream = read(store, key)
      if (!stream) return 0
      const before = stream.entries.length
      stream.entries = stream.entries.filter(({ id }) => !ids.some((gone) => compare(id, gone) === 0))
      return before - stream.entries.length
    },
  },
  xtrim: {
    arity: [3, null],
    run(store, args) {
      const options = new Options(args, 1)
      const kind = options.name()
      if (kind !== 'MAXLEN' && kind !== 'MINID') throw new RedisError(SYNTAX_ERROR)
      const trimming = parseTrim(kind, options)
      if (!options.done) throw new RedisError(SYNTAX_ERROR)
      const stream = read(store, args[0])
      return stream ? trim(stream, trimming) : 0
    },
  },
}
