import { type Bounds, FULL } from './bounds.ts'
import { database } from './database.ts'
import { EVENT_NAMES, EVENTS, isHealthy, successors } from './events.ts'
import { type Guard, guards } from './guards.ts'
import type { Program } from './programs.ts'
import {
  canonical,
  DUE,
  isFinalStatus,
  layoutOf,
  OPEN,
  pack,
  RUN,
  STATUS,
  STEP,
  stepAt,
  unpack,
} from './state.ts'

/** Memory ends first beyond it: 16 bytes a state, 8 its origin, 4 a step on the way back. */
const MAX_STATES = 30_000_000

export interface Exploration {
  states: number
  transitions: number
  depth: number
  seconds: number
  megabytes: number
  complete: boolean
  /** The first state that breaks a promise, by the shortest way to it. */
  broken: { property: string; trace: string[] } | null
}

export const STUCK = 'no dead end: from here the run can no longer end, its deadline aside'

/** Grows by doubling; everything about a state stands under its number. */
class Numbers {
  values: Uint32Array<ArrayBuffer>
  length = 0
  constructor(capacity: number) {
    this.values = new Uint32Array(capacity)
  }
  reserve(more: number): void {
    if (this.length + more <= this.values.length) return
    const grown = new Uint32Array(this.values.length * 2)
    grown.set(this.values)
    this.values = grown
  }
  push(value: number): void {
    this.reserve(1)
    this.values[this.length++] = value
  }
}

/**
 * Every state that can be reached, in order of distance; then, backwards, whether each can still end. `promise` is the beginning of
 * the only property that counts: the way goes on over breaks of others.
 */
export function explore(
  program: Program,
  {
    off = [],
    bounds = FULL,
    promise = '',
  }: { off?: readonly Guard[]; bounds?: Bounds; promise?: string } = {},
): Exploration {
  const began = performance.now()
  const layout = layoutOf(program.steps.length)
  const { words } = layout
  const rules = guards(...off)
  const db = database(layout, program, rules, bounds, promise)
  const known = new Numbers(1 << 16)
  const parents = new Numbers(1 << 14)
  const causes = new Numbers(1 << 14)
  const healthy = new Numbers(1 << 16)
  const starts = new Numbers(1 << 14)
  let slots = new Uint32Array(1 << 16)
  let count = 0
  let transitions = 0
  let broken: Exploration['broken'] = null
  const key = new Uint32Array(words)

  const slotOf = (base: Uint32Array, at: number) => {
    let hash = 0x811c9dc5
    for (let n = 0; n < words; n++) {
      hash = Math.imul(hash ^ (base[at + n] ?? 0), 0x9e3779b1)
      hash ^= hash >>> 15
    }
    hash = Math.imul(hash, 0x85ebca6b)
    return (hash ^ (hash >>> 13)) & (slots.length - 1)
  }
  /** The number of the state in `key`; a new one gets the next. */
  const numberOf = (parent: number, cause: number): number => {
    let slot = slotOf(key, 0)
    for (let found = slots[slot] ?? 0; found !== 0; found = slots[slot] ?? 0) {
      const base = (found - 1) * words
      let n = 0
      while (n < words && known.values[base + n] === key[n]) n++
      if (n === words) return found - 1
      slot = (slot + 1) & (slots.length - 1)
    }
    slots[slot] = count + 1
    known.reserve(words)
    known.values.set(key, known.length)
    known.length += words
    parents.push(parent)
    causes.push(cause)
    count++
    if (count * 2 > slots.length) {
      slots = new Uint32Array(slots.length * 2)
      for (let state = 0; state < count; state++) {
        let free = slotOf(known.values, state * words)
        while (slots[free] !== 0) free = (free + 1) & (slots.length - 1)
        slots[free] = state + 1
      }
    }
    return count - 1
  }
  const label = (cause: number) => EVENTS[EVENT_NAMES[cause >>> 4] ?? 'ack'].replace('{}', String(cause & 15))
  const traceOf = (state: number): string[] => {
    const lines: string[] = []
    let at = state
    for (; parents.values[at] !== at; at = parents.values[at] ?? 0)
      lines.unshift(label(causes.values[at] ?? 0))
    return at === 0 ? lines : ['FAULT: the first publish is lost', ...lines]
  }

  const from = new Uint8Array(layout.fields)
  const next = new Uint8Array(layout.fields)
  // A run begins with its first step on the queue, published or not.
  for (const published of [1, 0]) {
    from.fill(0)
    from[RUN.status] = STATUS[program.status]
    from[stepAt(0) + STEP.state] = OPEN
    from[stepAt(0) + STEP.due] = DUE
    from[stepAt(0) + STEP.publish] = 1
    from[stepAt(0) + STEP.seen] = published
    from[stepAt(0) + STEP.messages] = published
    pack(from, layout, key)
    numberOf(count, 0)
  }

  let depth = 0
  let levelEnd = count
  for (let state = 0; state < count && broken === null && count < MAX_STATES; state++) {
    if (state === levelEnd) {
      depth++
      levelEnd = count
    }
    unpack(known.values, state * words, layout, from)
    starts.push(healthy.length)
    successors(layout, program, rules, bounds, db, from, next, (code, step) => {
      transitions++
      const violation = db.violation()
      if (violation !== null) {
        broken ??= { property: violation, trace: [...traceOf(state), label((code << 4) | step)] }
        return
      }
      canonical(next, layout)
      pack(next, layout, key)
      const to = numberOf(state, (code << 4) | step)
      if (isHealthy[code] === true && to !== state) healthy.push(to)
    })
  }
  const complete = broken === null && count < MAX_STATES
  if (complete) {
    starts.push(healthy.length)
    const stuck = firstThatCannotEnd()
    if (stuck !== -1) broken = { property: STUCK, trace: traceOf(stuck) }
  }

  /** Backwards from every final state along ways that need no fault; the first state (nearest to the start) that is not met. */
  function firstThatCannotEnd(): number {
    const into = new Uint32Array(count + 1)
    for (let n = 0; n < healthy.length; n++) {
      const to = (healthy.values[n] ?? 0) + 1
      into[to] = (into[to] ?? 0) + 1
    }
    for (let state = 0; state < count; state++) into[state + 1] = (into[state + 1] ?? 0) + (into[state] ?? 0)
    const fill = into.slice()
    const sources = new Uint32Array(healthy.length)
    for (let state = 0; state < count; state++) {
      const end = starts.values[state + 1] ?? 0
      for (let n = starts.values[state] ?? 0; n < end; n++) {
        const to = healthy.values[n] ?? 0
        const at = fill[to] ?? 0
        sources[at] = state
        fill[to] = at + 1
      }
    }
    const ends = new Uint8Array(count)
    const queue = new Uint32Array(count)
    let tail = 0
    const shift = layout.shift[RUN.status] ?? 0
    const mask = layout.mask[RUN.status] ?? 0
    for (let state = 0; state < count; state++) {
      if (!isFinalStatus(((known.values[state * words] ?? 0) >>> shift) & mask)) continue
      ends[state] = 1
      queue[tail++] = state
    }
    for (let head = 0; head < tail; head++) {
      const state = queue[head] ?? 0
      for (let n = into[state] ?? 0; n < (into[state + 1] ?? 0); n++) {
        const source = sources[n] ?? 0
        if (ends[source] === 1) continue
        ends[source] = 1
        queue[tail++] = source
      }
    }
    return ends.indexOf(0)
  }

  return {
    states: count,
    transitions,
    depth,
    seconds: (performance.now() - began) / 1000,
    megabytes: Math.round(
      [known, parents, causes, healthy, starts].reduce(
        (sum, { values }) => sum + values.byteLength,
        slots.byteLength,
      ) /
        2 ** 20,
    ),
    complete,
    broken,
  }
}
