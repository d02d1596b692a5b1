import { BadRequest } from './options.ts'

/** What a filter is matched against: pending messages, dead letters and events all have it. */
export interface Filterable {
  messageId: string
  url: string
  atMs: number
  topicName: string | null
  queueName: string | null
  scheduleId: string | null
  flowControlKey: string | null
  callerIp: string
  labels: string[]
  dlqId?: string
  responseStatus?: number | null
  state?: string
}

const FIELDS: Record<string, (item: Filterable, wanted: Set<string>) => boolean> = {
  messageIds: (item, wanted) => wanted.has(item.messageId),
  messageId: (item, wanted) => wanted.has(item.messageId),
  dlqIds: (item, wanted) => item.dlqId !== undefined && wanted.has(item.dlqId),
  url: (item, wanted) => wanted.has(item.url),
  host: (item, wanted) => wanted.has(new URL(item.url).host),
  path: (item, wanted) => wanted.has(new URL(item.url).pathname),
  topicName: (item, wanted) => item.topicName !== null && wanted.has(item.topicName),
  queueName: (item, wanted) => item.queueName !== null && wanted.has(item.queueName),
  scheduleId: (item, wanted) => item.scheduleId !== null && wanted.has(item.scheduleId),
  flowControlKey: (item, wanted) => item.flowControlKey !== null && wanted.has(item.flowControlKey),
  callerIp: (item, wanted) => wanted.has(item.callerIp),
  label: (item, wanted) => item.labels.some((label) => wanted.has(label)),
  responseStatus: (item, wanted) => wanted.has(String(item.responseStatus ?? '')),
  state: (item, wanted) =>
    item.state !== undefined &&
    (wanted.has(item.state) ||
      (wanted.has('CANCELED') && item.state === 'CANCELLED') ||
      (wanted.has('IN_PROGRESS') && ['CREATED', 'ACTIVE', 'RETRY', 'ERROR'].includes(item.state))),
}

/** Separate filters must all match; of several values of one filter any. Throws BadRequest for a filter that is not known. */
export function parseFilter(
  query: URLSearchParams,
  body?: Record<string, unknown>,
): (item: Filterable) => boolean {
  const tests: ((item: Filterable) => boolean)[] = []
  const names = new Set([...query.keys(), ...Object.keys(body ?? {})])
  for (const name of names) {
    if (name === 'count' || name === 'cursor' || name === 'qstash_token') continue
    const given = [...query.getAll(name), ...strings(body?.[name])]
    if (given.length === 0 || given.some((value) => value === ''))
      throw new BadRequest(`filter ${name} is empty`)
    if (name === 'fromDate' || name === 'toDate') {
      const at = Number(given[0])
      if (!Number.isFinite(at)) throw new BadRequest(`${name} must be unix milliseconds`)
      tests.push(name === 'fromDate' ? (item) => item.atMs >= at : (item) => item.atMs <= at)
      continue
    }
    const field = Object.hasOwn(FIELDS, name) ? FIELDS[name] : undefined
    // An unknown filter must not widen a bulk delete to everything.
    if (!field) throw new BadRequest(`unknown filter ${name.slice(0, 60)}`)
    const wanted = new Set(given)
    tests.push((item) => field(item, wanted))
  }
  return (item) => tests.every((test) => test(item))
}

/** `count` of a page: 1 to `max`. */
export function parseCount(query: URLSearchParams, fallback: number, max: number): number {
  const text = query.get('count')
  if (text === null) return fallback
  const count = Number(text)
  if (!Number.isInteger(count) || count < 1) throw new BadRequest('count must be a positive integer')
  return Math.min(count, max)
}

function strings(value: unknown): string[] {
  const list = value === undefined ? [] : Array.isArray(value) ? value : [value]
  return list.map((item) => {
    if (typeof item !== 'string' && typeof item !== 'number') throw new BadRequest('filters are strings')
    return String(item)
  })
}
