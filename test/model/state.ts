import { FINAL_STATUSES, RUN_STATUSES, type RunStatus } from '../../shared/core/run.ts'

/**
 * One state of the protocol: small numbers, one byte each while it is worked on, packed into words to be kept. What is not here
 * cannot make a difference: fences are not counted but told apart by who holds the current one, publication numbers by whether the
 * broker has seen the current one.
 */
export const ABSENT = 0
export const OPEN = 1
export const SETTLING = 2
export const DONE = 3

export const NO_LEASE = 0
export const LIVE = 1
export const LAPSED = 2

/** private.waits of a job: no row, made known, its runner has called, closed without an answer, answered. */
export const NO_WAIT = 0
export const PARKED = 1
export const CONFIRMED = 2
export const CLOSED = 3
export const ANSWERED = 4

/** agent_task_queue.due_at; NO_ROW: the step is not on the queue. */
export const NO_ROW = 0
export const DUE = 1
export const LATER = 2
export const NEVER = 3

/** The job itself: its runner exists (it may start, call back, call back again) or it does not. */
export const NO_JOB = 0
export const JOB = 1

/** What a worker is about to do. */
export const IDLE = 0
export const RECEIVED = 1
export const CLAIMED = 2
export const WORKED = 3
export const PUBLISHING = 4
export const ACKING = 5
export const MAKING_JOB = 6
/** Its commit was refused: what it used is to be settled. Where the run's lock is missing: between its check and its write. */
export const SETTLING_UP = 7

/** What the work came to, to be written next. */
export const OPERATIONS = [
  'answer',
  'refuse',
  'release',
  'release_free',
  'park',
  'repark',
  'give_up',
] as const
export type Operation = (typeof OPERATIONS)[number]

export const STATUS = Object.fromEntries(RUN_STATUSES.map((name, n) => [name, n])) as Record<
  RunStatus,
  number
>
const FINAL = new Set(FINAL_STATUSES.map((status) => STATUS[status]))
export const isFinalStatus = (status: number) => FINAL.has(status)

const RUN_BITS = { status: 4, pausedFrom: 4 }
const STEP_BITS = {
  state: 2,
  claimed: 1,
  lease: 2,
  attempt: 2,
  wait: 3,
  due: 2,
  publish: 1,
  seen: 1,
  messages: 2,
  settled: 1,
  job: 1,
}
const WORKER_BITS = {
  does: 3,
  step: 2,
  /** The step of the message it holds: another one when a commit has handed it the next claim. */
  message: 2,
  current: 1,
  operation: 3,
  /** private.waits as the claim showed it. */
  wait: 2,
  checked: 1,
  /** Steps to publish, one bit each, and those of them whose publication was raised meanwhile. */
  publications: 4,
  old: 4,
}

const offsets = <Names extends string>(bits: Record<Names, number>) =>
  Object.fromEntries(Object.keys(bits).map((name, n) => [name, n])) as Record<Names, number>

export const RUN = offsets(RUN_BITS)
export const STEP = offsets(STEP_BITS)
export const WORKER = offsets(WORKER_BITS)
const RUN_FIELDS = Object.keys(RUN_BITS).length
export const STEP_FIELDS = Object.keys(STEP_BITS).length
export const WORKER_FIELDS = Object.keys(WORKER_BITS).length
export const WORKERS = 2

export interface Layout {
  steps: number
  fields: number
  words: number
  /** Word and shift of each field. */
  word: Uint8Array
  shift: Uint8Array
  mask: Uint8Array
}

export function layoutOf(steps: number): Layout {
  const bits = [
    ...Object.values(RUN_BITS),
    ...Array.from({ length: steps }, () => Object.values(STEP_BITS)).flat(),
    ...Array.from({ length: WORKERS }, () => Object.values(WORKER_BITS)).flat(),
  ]
  const word = new Uint8Array(bits.length)
  const shift = new Uint8Array(bits.length)
  let at = 0
  let used = 0
  bits.forEach((width, n) => {
    if (used + width > 32) {
      at++
      used = 0
    }
    word[n] = at
    shift[n] = used
    used += width
  })
  const mask = Uint8Array.from(bits, (width) => 2 ** width - 1)
  return { steps, fields: bits.length, words: at + 1, word, shift, mask }
}

export const stepAt = (step: number) => RUN_FIELDS + step * STEP_FIELDS
export const workerAt = (layout: Layout, worker: number) =>
  RUN_FIELDS + layout.steps * STEP_FIELDS + worker * WORKER_FIELDS

/** The two workers are alike: the state with the smaller one first stands for both. */
export function canonical(state: Uint8Array, layout: Layout): void {
  const one = workerAt(layout, 0)
  const two = workerAt(layout, 1)
  for (let n = 0; n < WORKER_FIELDS; n++) {
    const a = state[one + n] ?? 0
    const b = state[two + n] ?? 0
    if (a < b) return
    if (a > b) {
      for (let k = n; k < WORKER_FIELDS; k++) {
        const kept = state[one + k] ?? 0
        state[one + k] = state[two + k] ?? 0
        state[two + k] = kept
      }
      return
    }
  }
}

export function pack(state: Uint8Array, layout: Layout, into: Uint32Array): void {
  into.fill(0)
  for (let n = 0; n < layout.fields; n++) {
    const at = layout.word[n] ?? 0
    into[at] = (into[at] ?? 0) | ((state[n] ?? 0) << (layout.shift[n] ?? 0))
  }
}

export function unpack(words: Uint32Array, base: number, layout: Layout, into: Uint8Array): void {
  for (let n = 0; n < layout.fields; n++) {
    into[n] = ((words[base + (layout.word[n] ?? 0)] ?? 0) >>> (layout.shift[n] ?? 0)) & (layout.mask[n] ?? 0)
  }
}
