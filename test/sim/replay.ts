import { AppError } from '../../shared/core/errors.ts'
import type { StoreFixture } from '../../shared/ports/store.suite.ts'
import type { CarriedOut } from './sim-store.ts'

const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/g
const TIME = /^\d{4}-\d\d-\d\dT/
/** Differ by rounding of the moment at which they are asked. */
const BY_THE_CLOCK = new Set(['delay_seconds', 'retry_after_seconds', 'duration_ms'])
/** A tag's runs made at one moment are stopped in the order of their ids: it decides who is called up for a place before he goes, too. */
const BY_THE_ORDER = / bulkRuns$/
/** Makes the calls of a world again on another store, at the same times, and says where its answers differ. */
export async function replay(store: StoreFixture, calls: readonly CarriedOut[]): Promise<string[]> {
  /** Ids of the world to ids of the store: each draws its own. */
  const ids = new Map<string, string>()
  const differences: string[] = []
  let last_ms = calls[0]?.at_ms ?? 0
  for (const [n, { at_ms, name, input, answer }] of calls.entries()) {
    if (at_ms > last_ms) await store.advance((at_ms - last_ms) / 1000)
    last_ms = at_ms
    if (name === 'sweep') await store.sweep()
    else {
      const other = await call(store, name, translate(input, ids))
      compare(answer, other, { ids, at: `call ${n} ${name}`, differences })
    }
    if (differences.length > 0) return differences
  }
  return differences
}

async function call(store: StoreFixture, name: string, input: unknown): Promise<unknown> {
  const methods = { ...store.step, ...store.front } as unknown as Record<
    string,
    (input: unknown) => Promise<unknown>
  >
  const method = methods[name]
  if (method === undefined) throw new Error(`no method ${name}`)
  return method(input).catch((error: unknown) => error)
}

function translate(value: unknown, ids: ReadonlyMap<string, string>): unknown {
  if (typeof value === 'string') return value.replace(UUID, (id) => ids.get(id) ?? id)
  if (Array.isArray(value)) return value.map((item) => translate(item, ids))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, translate(item, ids)]))
}

interface Comparison {
  ids: Map<string, string>
  at: string
  differences: string[]
}

function compare(ours: unknown, theirs: unknown, comparison: Comparison): void {
  const { ids, at, differences } = comparison
  const differ = () => differences.push(`${at}: ${show(ours)} but ${show(theirs)}`)
  if (ours instanceof AppError || theirs instanceof Error) {
    if (!(ours instanceof AppError && theirs instanceof AppError && ours.code === theirs.code)) differ()
  } else if (Array.isArray(ours)) {
    if (!Array.isArray(theirs) || ours.length !== theirs.length) differ()
    else {
      const order = sameOrder(ours, theirs, ids)
      for (const [n, item] of ours.entries()) compare(item, order[n], { ...comparison, at: `${at}[${n}]` })
    }
  } else if (typeof ours === 'object' && ours !== null) {
    if (typeof theirs !== 'object' || theirs === null) differ()
    else
      for (const [key, item] of Object.entries(ours))
        if (
          item !== undefined &&
          !BY_THE_CLOCK.has(key) &&
          !(key === 'publications' && BY_THE_ORDER.test(at))
        )
          compare(item, (theirs as Record<string, unknown>)[key], { ...comparison, at: `${at}.${key}` })
  } else if (typeof ours === 'string' && typeof theirs === 'string') {
    if (TIME.test(ours) && TIME.test(theirs)) return
    learn(ours, theirs, ids)
    if (translate(ours, ids) !== theirs) differ()
  } else if (ours !== theirs && !(ours === undefined && theirs === null)) differ()
}

/** The sweeper's publications and objects come in no order; nor do a tag's runs that were made at one moment. */
function sameOrder(
  ours: readonly unknown[],
  theirs: readonly unknown[],
  ids: ReadonlyMap<string, string>,
): readonly unknown[] {
  const key = (item: unknown) => {
    const { run_id, step_number, bucket, name, ok } = (item ?? {}) as Record<string, unknown>
    if (typeof run_id === 'string' && typeof ok === 'boolean') return run_id
    if (typeof bucket === 'string' && typeof name === 'string') return `${bucket} ${name}`
    return typeof run_id === 'string' && typeof step_number === 'number'
      ? `${run_id} ${step_number}`
      : undefined
  }
  return ours.map((item, n) => {
    const wanted = translate(key(item), ids)
    return wanted === undefined ? theirs[n] : (theirs.find((other) => key(other) === wanted) ?? theirs[n])
  })
}

function learn(ours: string, theirs: string, ids: Map<string, string>): void {
  const [mine, other] = [ours.match(UUID) ?? [], theirs.match(UUID) ?? []]
  for (const [n, id] of mine.entries()) {
    const known = other[n]
    if (known !== undefined && id !== known && !ids.has(id)) ids.set(id, known)
  }
}

function show(value: unknown): string {
  return value instanceof Error
    ? `${value.name} ${value.message}`
    : (JSON.stringify(value)?.slice(0, 300) ?? 'nothing')
}
