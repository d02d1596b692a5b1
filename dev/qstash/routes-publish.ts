import { Hono } from 'hono'
import { isRecord, readBody, readJson } from './body.ts'
import type { Dispatcher } from './dispatcher.ts'
import { BadRequest, parseName, parseOptions } from './options.ts'
import type { Persistence } from './persist.ts'
import type { Accepted } from './publish.ts'
import type { Limits } from './state.ts'
import { type AppContext, type Bindings, readTarget } from './target.ts'

const MAX_BATCH_BYTES = 10 * 1024 * 1024
const MAX_BATCH_ITEMS = 1000

/** publish, enqueue and batch. */
export function publishRoutes(
  dispatcher: Dispatcher,
  persistence: Persistence,
  limits: Limits,
): Hono<{ Bindings: Bindings }> {
  const app = new Hono<{ Bindings: Bindings }>()

  app.post('/v2/publish/*', async (c) => {
    const { rest, query } = readTarget(c, '/v2/publish/')
    const body = await readBody(c, limits.maxMessageBytes)
    const options = parseOptions(c.req.raw.headers, query)
    const accepted = dispatcher.publish({ destination: rest, options, body, callerIp: callerIp(c) })
    await persistence.saved()
    return c.json(accepted, isDuplicate(accepted) ? 202 : 200)
  })

  app.post('/v2/enqueue/:queue/*', async (c) => {
    const { rest, query } = readTarget(c, '/v2/enqueue/')
    const slash = rest.indexOf('/')
    const queueName = parseName(rest.slice(0, Math.max(0, slash)), 'queue name')
    const body = await readBody(c, limits.maxMessageBytes)
    const options = { ...parseOptions(c.req.raw.headers, query), queueName }
    const accepted = dispatcher.publish({
      destination: rest.slice(slash + 1),
      options,
      body,
      callerIp: callerIp(c),
    })
    await persistence.saved()
    return c.json(accepted, isDuplicate(accepted) ? 202 : 200)
  })

  app.post('/v2/batch', async (c) => {
    const items = await readJson(c, MAX_BATCH_BYTES)
    if (!Array.isArray(items)) throw new BadRequest('a batch is a JSON array of messages')
    if (items.length === 0 || items.length > MAX_BATCH_ITEMS)
      throw new BadRequest(`a batch has 1 to ${MAX_BATCH_ITEMS} messages`)
    const answers = items.map((item: unknown) => {
      try {
        return publishItem(item, callerIp(c))
      } catch (error) {
        if (error instanceof BadRequest) return { error: error.message, status: error.status }
        throw error
      }
    })
    await persistence.saved()
    return c.json(answers)
  })

  /** One item of a batch; its failure is its own. */
  function publishItem(item: unknown, from: string): Accepted | Accepted[] {
    if (!isRecord(item)) throw new BadRequest('a message of a batch is an object')
    const { destination, headers, body, queue } = item
    if (typeof destination !== 'string') throw new BadRequest('destination must be a string')
    if (body !== undefined && body !== null && typeof body !== 'string')
      throw new BadRequest('body must be a string')
    if (headers !== undefined && !isRecord(headers)) throw new BadRequest('headers must be an object')
    if (queue !== undefined && typeof queue !== 'string') throw new BadRequest('queue must be a string')
    const options = parseOptions(Object.entries(headers ?? {}) as [string, string][], new Map())
    if (queue !== undefined) options.queueName = parseName(queue, 'queue')
    return dispatcher.publish({ destination, options, body: Buffer.from(body ?? ''), callerIp: from })
  }

  return app
}

export function callerIp(c: AppContext): string {
  return c.env?.incoming?.socket?.remoteAddress?.replace(/^::ffff:/, '') ?? '127.0.0.1'
}

function isDuplicate(accepted: Accepted | Accepted[]): boolean {
  return Array.isArray(accepted) ? accepted.every((one) => one.deduplicated) : accepted.deduplicated === true
}
