import { parseDurationMs } from './duration.ts'
import { parseExpression } from './expression.ts'
import type { CallbackOptions, FlowLimits, PublishOptions } from './message.ts'

export class BadRequest extends Error {
  readonly status: 400 | 401 | 404 | 412 | 413
  constructor(message: string, status: 400 | 401 | 404 | 412 | 413 = 400) {
    super(message)
    this.status = status
  }
}

/** Looks a header up by its lower-case name. */
export type ReadHeader = (name: string) => string | undefined

const METHODS = new Set(['GET', 'POST', 'PUT', 'PATCH', 'DELETE'])
/** Free plan 7 days, paid a year: a year catches mistakes such as milliseconds given as seconds. */
const MAX_DELAY_MS = 366 * 86_400_000
const MAX_RETRIES = 1000
/** One week is the longest period of flow control. */
const MAX_PERIOD_MS = 7 * 86_400_000
/** Never forwarded: they belong to the connection, or would let a publisher forge what only QStash says. */
const RESERVED =
  /^(host|connection|content-length|transfer-encoding|keep-alive|te|trailer|upgrade|expect|proxy-.*|upstash-.*|user-agent)$/

/**
 * Options of one publish. `entries` are header pairs in any case; values and names are checked here because a batch brings them
 * as JSON, where a line break is possible. Throws BadRequest.
 */
export function parseOptions(
  entries: Iterable<readonly [string, string]>,
  query: ReadonlyMap<string, string>,
): PublishOptions {
  const headers = new Map<string, string>()
  for (const [name, value] of entries) headers.set(name.toLowerCase(), checkHeader(name, value))
  for (const [name, value] of query) headers.set(name.toLowerCase(), checkHeader(name, value))
  const read: ReadHeader = (name) => headers.get(name)

  return {
    method: parseMethod(read('upstash-method')),
    contentType: read('content-type') ?? null,
    forward: parseForward(headers, 'upstash-forward-', read('upstash-header-forward') === 'true'),
    delayMs: duration(read, 'upstash-delay') ?? 0,
    notBeforeMs: parseNotBefore(read('upstash-not-before')),
    retries: integer(read, 'upstash-retries', MAX_RETRIES) ?? 3,
    retryDelay: parseRetryDelay(read, 'upstash-retry-delay'),
    timeoutMs: duration(read, 'upstash-timeout'),
    deduplicationId: parseId(read('upstash-deduplication-id'), 'Upstash-Deduplication-Id'),
    contentBasedDeduplication: read('upstash-content-based-deduplication') === 'true',
    callback: parseCallback(headers, 'upstash-callback'),
    failureCallback: parseCallback(headers, 'upstash-failure-callback'),
    flowControlKey: parseId(read('upstash-flow-control-key'), 'Upstash-Flow-Control-Key'),
    flowLimits: parseFlowControl(read('upstash-flow-control-key'), read('upstash-flow-control-value')),
    labels: parseLabels(read('upstash-label')),
    queueName: parseName(read('upstash-queue-name'), 'Upstash-Queue-Name'),
    redact: (read('upstash-redact-fields') ?? '')
      .split(',')
      .map((part) => part.trim())
      .filter(Boolean),
  }
}

/** A queue, topic, schedule or label name: what the API accepts in a path without escaping. */
export function parseName(value: string | undefined, what: string): string | null {
  if (value === undefined) return null
  if (!/^[\w.-]{1,128}$/.test(value))
    throw new BadRequest(`invalid ${what}: letters, digits, "_", "-", "." (at most 128)`)
  return value
}

/** Only absolute http(s) URLs without credentials can be called. */
export function checkUrl(value: string, what: string): string {
  const url = URL.canParse(value) ? new URL(value) : null
  if (!url || !/^https?:\/\//i.test(value) || url.username || url.password || value.length > 4096) {
    throw new BadRequest(`invalid ${what}: an absolute http or https URL is needed`)
  }
  return value
}

function checkHeader(name: string, value: unknown): string {
  if (typeof value !== 'string') throw new BadRequest(`header ${name.slice(0, 60)} is not a string`)
  if (!/^[!#$%&'*+.^_`|~\w-]{1,128}$/.test(name)) throw new BadRequest('invalid header name')
  for (let index = 0; index < value.length; index += 1) {
    const code = value.charCodeAt(index)
    if ((code < 32 && code !== 9) || code === 127 || code > 255)
      throw new BadRequest(`invalid character in header ${name}`)
  }
  if (value.length > 8192) throw new BadRequest(`header ${name} is too long`)
  return value.trim()
}

function parseMethod(value: string | undefined): string {
  const method = (value ?? 'POST').toUpperCase()
  if (!METHODS.has(method)) throw new BadRequest(`invalid Upstash-Method: ${method.slice(0, 20)}`)
  return method
}

function parseForward(
  headers: Map<string, string>,
  prefix: string,
  everything: boolean,
): Record<string, string> {
  const forward: Record<string, string> = {}
  for (const [name, value] of headers) {
    if (name.startsWith(prefix)) {
      const target = name.slice(prefix.length)
      if (target && !RESERVED.test(target)) forward[target] = value
    } else if (everything && !RESERVED.test(name) && name !== 'authorization' && name !== 'content-type') {
      // `authorization` of the publish is the QStash token: it must not reach the target.
      forward[name] ??= value
    }
  }
  return forward
}

function parseCallback(headers: Map<string, string>, prefix: string): CallbackOptions | null {
  const url = headers.get(prefix)
  if (url === undefined) return null
  const read: ReadHeader = (name) => headers.get(name)
  return {
    url: checkUrl(url, prefix),
    method: parseMethod(read(`${prefix}-method`)),
    retries: integer(read, `${prefix}-retries`, MAX_RETRIES) ?? 3,
    retryDelay: parseRetryDelay(read, `${prefix}-retry-delay`),
    delayMs: duration(read, `${prefix}-delay`) ?? 0,
    timeoutMs: duration(read, `${prefix}-timeout`),
    forward: parseForward(headers, `${prefix}-forward-`, false),
  }
}

function duration(read: ReadHeader, name: string): number | null {
  const text = read(name)
  if (text === undefined) return null
  const ms = parseDurationMs(text)
  if (ms === null || ms > MAX_DELAY_MS)
    throw new BadRequest(`invalid ${name}: a duration such as 50s or 1d10h, at most 366d`)
  return ms
}

function integer(read: ReadHeader, name: string, max: number): number | null {
  const text = read(name)
  if (text === undefined) return null
  if (!/^\d{1,9}$/.test(text) || Number(text) > max)
    throw new BadRequest(`invalid ${name}: an integer from 0 to ${max}`)
  return Number(text)
}

function parseNotBefore(text = ''): number | null {
  if (text === '') return null
  if (!/^\d{1,11}$/.test(text)) throw new BadRequest('invalid Upstash-Not-Before: unix seconds')
  return Number(text) * 1000
}

function parseRetryDelay(read: ReadHeader, name: string): string | null {
  const source = read(name)
  if (source === undefined) return null
  try {
    parseExpression(source)
  } catch (error) {
    throw new BadRequest(`invalid ${name}: ${error instanceof Error ? error.message : 'not an expression'}`)
  }
  return source
}

function parseId(value: string | undefined, what: string): string | null {
  if (value === undefined) return null
  if (value === '' || value.length > 256) throw new BadRequest(`invalid ${what}: 1 to 256 characters`)
  return value
}

function parseFlowControl(key: string | undefined, value: string | undefined): FlowLimits | null {
  if (key === undefined) return null
  const limits: FlowLimits = { parallelism: null, rate: null, periodMs: 1000 }
  for (const part of (value ?? '').split(',')) {
    const [name = '', text = ''] = part.split('=').map((side) => side.trim())
    if (name === 'period') {
      const ms = parseDurationMs(text)
      if (ms === null || ms <= 0 || ms > MAX_PERIOD_MS)
        throw new BadRequest('invalid period in Upstash-Flow-Control-Value')
      limits.periodMs = ms
    } else if ((name === 'rate' || name === 'parallelism') && /^\d{1,9}$/.test(text) && Number(text) > 0) {
      limits[name] = Number(text)
    } else {
      throw new BadRequest('invalid Upstash-Flow-Control-Value: parallelism=N, rate=N, period=1m')
    }
  }
  if (limits.parallelism === null && limits.rate === null) {
    throw new BadRequest('Upstash-Flow-Control-Value needs parallelism or rate')
  }
  return limits
}

function parseLabels(value: string | undefined): string[] {
  const labels = (value ?? '')
    .split(',')
    .map((label) => label.trim())
    .filter(Boolean)
  if (labels.length > 16) throw new BadRequest('at most 16 labels')
  for (const label of labels) parseName(label, 'Upstash-Label')
  return labels
}
