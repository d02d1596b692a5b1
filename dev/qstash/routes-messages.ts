import { Hono } from 'hono'
import { isRecord, readJson } from './body.ts'
import type { Dispatcher } from './dispatcher.ts'
import { type Filterable, parseCount, parseFilter } from './filter.ts'
import { type DeadLetter, describeMessage, type Message } from './message.ts'
import { BadRequest, parseOptions } from './options.ts'
import type { Persistence } from './persist.ts'
import type { LogEvent, State } from './state.ts'
import type { AppContext, Bindings } from './target.ts'

const MAX_BULK_BYTES = 256 * 1024

/** messages, dead letters and logs. */
export function messageRoutes(
  state: State,
  dispatcher: Dispatcher,
  persistence: Persistence,
): Hono<{ Bindings: Bindings }> {
  const app = new Hono<{ Bindings: Bindings }>()
  const searchParams = (c: AppContext) => new URL(c.req.raw.url).searchParams

  const findMessage = (id: string): Message => {
    const message = state.messages.get(id)
    if (!message || message.duplicate) throw new BadRequest(`message ${id.slice(0, 80)} not found`, 404)
    return message
  }
  const findLetter = (id: string): DeadLetter => {
    const letter = state.deadLetters.get(id)
    if (!letter) throw new BadRequest(`dead letter ${id.slice(0, 80)} not found`, 404)
    return letter
  }

  app.get('/v2/messages/:id', (c) => c.json(describeMessage(findMessage(c.req.param('id')))))

  app.delete('/v2/messages/:id', async (c) => {
    dispatcher.cancel(findMessage(c.req.param('id')))
    await persistence.saved()
    return c.json({ cancelled: 1 })
  })

  app.delete('/v2/messages', async (c) => {
    const matches = parseFilter(searchParams(c), await bulkBody(c))
    const found = [...state.messages.values()].filter(
      (message) => !message.duplicate && matches(filterable(message)),
    )
    for (const message of found) dispatcher.cancel(message)
    await persistence.saved()
    return c.json({ cancelled: found.length })
  })

  app.get('/v2/dlq', (c) => {
    const query = searchParams(c)
    const { page, cursor } = pageOf(selectLetters(query), query)
    return c.json({ messages: page.map(describeLetter), ...(cursor ? { cursor } : {}) })
  })

  app.get('/v2/dlq/:id', (c) => c.json(describeLetter(findLetter(c.req.param('id')))))

  app.delete('/v2/dlq/:id', async (c) => {
    state.deadLetters.delete(findLetter(c.req.param('id')).dlqId)
    persistence.changed()
    await persistence.saved()
    return c.json({ deleted: 1 })
  })

  app.delete('/v2/dlq', async (c) => {
    const query = searchParams(c)
    const { page, cursor } = pageOf(selectLetters(query, await bulkBody(c)), query)
    for (const letter of page) state.deadLetters.delete(letter.dlqId)
    await persistence.saved()
    return c.json({ deleted: page.length, ...(cursor ? { cursor } : {}) })
  })

  app.post('/v2/dlq/retry/:id', async (c) => {
    const response = retry(findLetter(c.req.param('id')), c)
    await persistence.saved()
    return c.json({ responses: [response] }, 201)
  })

  app.post('/v2/dlq/retry', async (c) => {
    const query = searchParams(c)
    const { page, cursor } = pageOf(selectLetters(query, await bulkBody(c)), query)
    const responses = page.map((letter) => retry(letter, c))
    await persistence.saved()
    return c.json({ responses, ...(cursor ? { cursor } : {}) }, 201)
  })

  for (const path of ['/v2/logs', '/v2/events']) {
    app.get(path, (c) => {
      const query = searchParams(c)
      const matches = parseFilter(query)
      const found = state.events.filter((event) => matches(eventFilterable(event))).reverse()
      const { page, cursor } = pageOf(found, query)
      const events = page.map(describeEvent)
      return c.json({ events, logs: events, ...(cursor ? { cursor } : {}) })
    })
  }

  function selectLetters(query: URLSearchParams, body?: Record<string, unknown>): DeadLetter[] {
    const matches = parseFilter(query, body)
    return [...state.deadLetters.values()].filter((letter) =>
      matches({
        ...filterable(letter.message),
        dlqId: letter.dlqId,
        atMs: letter.failedAtMs,
        responseStatus: letter.responseStatus,
      }),
    )
  }

  /** A new message with a new id; configuration headers of the retry win over those of the dead one. */
  function retry(letter: DeadLetter, c: AppContext): { messageId: string } {
    const { message } = letter
    const given = new Map([...c.req.raw.headers].filter(([name]) => name.startsWith('upstash-')))
    const asked = parseOptions(given, new Map())
    const overrides: Record<string, unknown> = {}
    const names = {
      'upstash-retries': 'retries',
      'upstash-retry-delay': 'retryDelay',
      'upstash-delay': 'delayMs',
      'upstash-timeout': 'timeoutMs',
      'upstash-callback': 'callback',
      'upstash-failure-callback': 'failureCallback',
      'upstash-label': 'labels',
      'upstash-method': 'method',
    } as const
    for (const [header, name] of Object.entries(names)) if (given.has(header)) overrides[name] = asked[name]
    const accepted = dispatcher.publish({
      destination: message.url,
      options: {
        ...message.options,
        delayMs: 0,
        notBeforeMs: null,
        deduplicationId: null,
        contentBasedDeduplication: false,
        ...overrides,
      },
      body: Buffer.from(message.body, 'base64'),
      callerIp: message.callerIp,
      ...(message.scheduleId ? { scheduleId: message.scheduleId } : {}),
    })
    state.deadLetters.delete(letter.dlqId)
    const first = Array.isArray(accepted) ? accepted[0] : accepted
    return { messageId: first?.messageId ?? '' }
  }

  return app
}

async function bulkBody(c: AppContext): Promise<Record<string, unknown> | undefined> {
  const body = await readJson(c, MAX_BULK_BYTES)
  if (body !== undefined && !isRecord(body)) throw new BadRequest('the body must be an object of filters')
  return body
}

/** Cursors are offsets into the list as it is now: enough for a development part, where nobody pages under load. */
function pageOf<T>(items: T[], query: URLSearchParams): { page: T[]; cursor: string | undefined } {
  const count = parseCount(query, 100, 1000)
  const from = Number(query.get('cursor') ?? 0)
  if (!Number.isInteger(from) || from < 0) throw new BadRequest('invalid cursor')
  return {
    page: items.slice(from, from + count),
    cursor: items.length > from + count ? String(from + count) : undefined,
  }
}

function describeLetter(letter: DeadLetter): Record<string, unknown> {
  return {
    ...describeMessage(letter.message),
    dlqId: letter.dlqId,
    responseStatus: letter.responseStatus,
    responseHeader: letter.responseHeader,
    responseBody: Buffer.from(letter.responseBody, 'base64').toString('utf8'),
    error: letter.error ?? undefined,
  }
}

function describeEvent(event: LogEvent): Record<string, unknown> {
  const { labels, ...rest } = event
  const known = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== null))
  return labels.length > 0 ? { ...known, label: labels[0], labels } : known
}

function filterable(message: Message): Filterable {
  return {
    messageId: message.messageId,
    url: message.url,
    atMs: message.createdAtMs,
    topicName: message.topicName,
    queueName: message.options.queueName,
    scheduleId: message.scheduleId,
    flowControlKey: message.options.flowControlKey,
    callerIp: message.callerIp,
    labels: message.options.labels,
    state: message.state,
  }
}

function eventFilterable(event: LogEvent): Filterable {
  return { ...event, atMs: event.time, callerIp: event.callerIP }
}
