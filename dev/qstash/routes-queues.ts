import { Hono } from 'hono'
import { isRecord, readJson } from './body.ts'
import type { Dispatcher } from './dispatcher.ts'
import { BadRequest, checkUrl, parseName } from './options.ts'
import type { Persistence } from './persist.ts'
import type { Limits, Queue, State, Topic } from './state.ts'
import type { AppContext, Bindings } from './target.ts'

const MAX_BODY_BYTES = 256 * 1024
const MAX_ENDPOINTS = 100

/** Queues and topics (URL groups). */
export function queueRoutes(
  state: State,
  dispatcher: Dispatcher,
  persistence: Persistence,
  limits: Limits,
  now: () => number,
): Hono<{ Bindings: Bindings }> {
  const app = new Hono<{ Bindings: Bindings }>()
  const done = async () => {
    persistence.changed()
    dispatcher.wake()
    await persistence.saved()
  }

  app.post('/v2/queues', async (c) => {
    const body = await objectBody(c)
    const name = requireName(body.queueName, 'queueName')
    const parallelism = body.parallelism ?? 1
    const paused = body.paused ?? false
    if (
      typeof parallelism !== 'number' ||
      !Number.isInteger(parallelism) ||
      parallelism < 1 ||
      parallelism > 1000
    ) {
      throw new BadRequest('parallelism must be an integer from 1 to 1000')
    }
    if (typeof paused !== 'boolean') throw new BadRequest('paused must be true or false')
    const known = state.queues.get(name)
    if (!known && state.queues.size >= limits.maxNames) throw new BadRequest('quota of queues exceeded', 412)
    const createdAtMs = known?.createdAtMs ?? now()
    state.queues.set(name, { name, parallelism, paused, createdAtMs, updatedAtMs: now() })
    await done()
    return c.body(null, 200)
  })
  app.get('/v2/queues', (c) => c.json([...state.queues.values()].map(describeQueue)))
  app.get('/v2/queues/:name', (c) => c.json(describeQueue(findQueue(c.req.param('name')))))
  app.delete('/v2/queues/:name', async (c) => {
    const { name } = findQueue(c.req.param('name'))
    // Its messages go with it, as pending ones could never be delivered in order again.
    for (const message of state.messages.values())
      if (message.options.queueName === name) dispatcher.cancel(message)
    state.queues.delete(name)
    await done()
    return c.body(null, 200)
  })
  for (const action of ['pause', 'resume'] as const) {
    app.post(`/v2/queues/:name/${action}`, async (c) => {
      const queue = findQueue(c.req.param('name'))
      queue.paused = action === 'pause'
      queue.updatedAtMs = now()
      await done()
      return c.body(null, 200)
    })
  }

  app.get('/v2/topics', (c) => c.json([...state.topics.values()].map(describeTopic)))
  app.get('/v2/topics/:name', (c) => c.json(describeTopic(findTopic(c.req.param('name')))))
  app.delete('/v2/topics/:name', async (c) => {
    state.topics.delete(findTopic(c.req.param('name')).name)
    await done()
    return c.body(null, 200)
  })
  app.on(['POST', 'PATCH'], '/v2/topics/:name/endpoints', async (c) => {
    const name = requireName(c.req.param('name'), 'topic name')
    const added = endpointsOf(await objectBody(c)).map((endpoint) => {
      const url = checkUrl(endpoint.url ?? '', 'endpoint url')
      return endpoint.name === undefined
        ? { url }
        : { url, name: requireName(endpoint.name, 'endpoint name') }
    })
    const known = state.topics.get(name)
    if (!known && state.topics.size >= limits.maxNames)
      throw new BadRequest('quota of URL groups exceeded', 412)
    const topic: Topic = known ?? { name, endpoints: [], createdAtMs: now(), updatedAtMs: now() }
    const endpoints = topic.endpoints.filter((old) => !added.some((fresh) => sameEndpoint(old, fresh)))
    if (endpoints.length + added.length > MAX_ENDPOINTS)
      throw new BadRequest(`at most ${MAX_ENDPOINTS} endpoints`)
    state.topics.set(name, { ...topic, endpoints: [...endpoints, ...added], updatedAtMs: now() })
    await done()
    return c.body(null, 200)
  })
  app.delete('/v2/topics/:name/endpoints', async (c) => {
    const topic = findTopic(c.req.param('name'))
    const removed = endpointsOf(await objectBody(c))
    topic.endpoints = topic.endpoints.filter(
      (endpoint) => !removed.some((gone) => sameEndpoint(endpoint, gone)),
    )
    topic.updatedAtMs = now()
    // A topic without endpoints is gone.
    if (topic.endpoints.length === 0) state.topics.delete(topic.name)
    await done()
    return c.body(null, 200)
  })

  function findQueue(name: string): Queue {
    const queue = state.queues.get(name)
    if (!queue) throw new BadRequest(`queue ${name.slice(0, 128)} not found`, 404)
    return queue
  }
  function findTopic(name: string): Topic {
    const topic = state.topics.get(name)
    if (!topic) throw new BadRequest(`URL group ${name.slice(0, 128)} not found`, 404)
    return topic
  }
  function describeQueue(queue: Queue): Record<string, unknown> {
    let lag = 0
    for (const message of state.messages.values()) if (message.options.queueName === queue.name) lag += 1
    const { name, parallelism, paused } = queue
    return { name, parallelism, paused, lag, createdAt: queue.createdAtMs, updatedAt: queue.updatedAtMs }
  }

  return app
}

function describeTopic(topic: Topic): Record<string, unknown> {
  return {
    name: topic.name,
    endpoints: topic.endpoints,
    createdAt: topic.createdAtMs,
    updatedAt: topic.updatedAtMs,
  }
}

async function objectBody(c: AppContext): Promise<Record<string, unknown>> {
  const body = await readJson(c, MAX_BODY_BYTES)
  if (!isRecord(body)) throw new BadRequest('a JSON object is needed')
  return body
}

export function requireName(value: unknown, what: string): string {
  const name = typeof value === 'string' ? parseName(value, what) : null
  if (name === null) throw new BadRequest(`${what} is needed`)
  return name
}

function endpointsOf(body: Record<string, unknown>): { url?: string; name?: string }[] {
  const { endpoints } = body
  if (!Array.isArray(endpoints) || endpoints.length === 0) throw new BadRequest('endpoints must be a list')
  return endpoints.map((endpoint: unknown) => {
    if (!isRecord(endpoint)) throw new BadRequest('an endpoint is an object with url and name')
    const { url, name } = endpoint
    if ((url !== undefined && typeof url !== 'string') || (name !== undefined && typeof name !== 'string')) {
      throw new BadRequest('url and name of an endpoint are strings')
    }
    return { ...(url ? { url } : {}), ...(name ? { name } : {}) }
  })
}

function sameEndpoint(a: { url?: string; name?: string }, b: { url?: string; name?: string }): boolean {
  return b.name !== undefined && a.name !== undefined ? a.name === b.name : a.url === b.url
}
