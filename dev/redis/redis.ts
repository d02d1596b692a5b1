import { createHash, timingSafeEqual } from 'node:crypto'
import { type Context, Hono } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import type { Commands } from './command.ts'
import { hashes } from './hashes.ts'
import { keys } from './keys.ts'
import { lists } from './lists.ts'
import { createPubSub } from './pubsub.ts'
import { RedisError, type Reply, toJson, toResp } from './reply.ts'
import { sets } from './sets.ts'
import { sortedSets } from './sorted-sets.ts'
import { createStore } from './store.ts'
import { streams } from './streams.ts'
import { strings } from './strings.ts'

export interface RedisOptions {
  /** Bearer token of every request (or `?_token=`). */
  token: string
  /** Unix ms; default Date.now. */
  now?: () => number
  /** Memory for keys and values; then OOM. Default 64 MiB. */
  maxBytes?: number
  log?: (fields: Record<string, unknown>, message: string) => void
}

export interface Redis {
  app: Hono
  fetch: Hono['fetch']
  /** Ends every subscription. */
  close(): void
}

/** A request of the free and pay-as-you-go plans. */
const MAX_REQUEST_BYTES = 10 * 1024 * 1024
const MAX_PIPELINE = 10_000

/** A stand-in for Upstash Redis over REST with its own store in memory, to be mounted under any base path. Development only. */
export function createRedis(options: RedisOptions): Redis {
  const store = createStore({ maxBytes: options.maxBytes ?? 64 * 1024 * 1024, now: options.now ?? Date.now })
  const pubsub = createPubSub()
  const commands: Commands = {
    ...strings,
    ...keys,
    ...hashes,
    ...lists,
    ...sets,
    ...sortedSets,
    ...streams,
    publish: {
      arity: [2, 2],
      run: (_store, [channel = '', message = '']) => pubsub.publish(channel, message),
    },
  }

  /** Finds the command and checks the number of arguments: what MULTI does when it queues. */
  function prepare(args: string[]): () => Reply {
    const [given = '', ...rest] = args
    const name = given.toLowerCase()
    const command = Object.hasOwn(commands, name) ? commands[name] : undefined
    if (!command) throw new RedisError(`ERR unknown command '${given.slice(0, 128)}'`)
    const [least, most] = command.arity
    if (rest.length < least || (most !== null && rest.length > most)) {
      throw new RedisError(`ERR wrong number of arguments for '${name}' command`)
    }
    return () => {
      if (command.grows) store.reserve(rest.reduce((sum, arg) => sum + arg.length + 32, 0))
      return command.run(store, rest)
    }
  }

  const attempt = (run: () => Reply): Reply | RedisError => {
    try {
      return run()
    } catch (error) {
      if (error instanceof RedisError) return error
      throw error
    }
  }

  const app = new Hono()
  app.use(async (c, next) =>
    isAuthorized(c, options.token) ? await next() : c.json({ error: 'Unauthorized' }, 401),
  )
  app.use(
    bodyLimit({
      maxSize: MAX_REQUEST_BYTES,
      onError: (c) =>
        c.json({ error: `ERR max request size exceeded. Limit: ${MAX_REQUEST_BYTES} bytes` }, 413),
    }),
  )

  app.post('/', async (c) => {
    const args = toArgs(await readJson(c))
    return answerOne(
      c,
      attempt(() => prepare(args)()),
    )
  })

  app.post('/pipeline', async (c) => {
    const list = toList(await readJson(c))
    return answerMany(
      c,
      list.map((args) => attempt(() => prepare(args)())),
    )
  })

  app.post('/multi-exec', async (c) => {
    const list = toList(await readJson(c))
    const prepared: (() => Reply)[] = []
    for (const args of list) {
      const one = attempt(() => {
        prepared.push(prepare(args))
        return null
      })
      if (one instanceof RedisError) {
        return answerOne(c, new RedisError('EXECABORT Transaction discarded because of previous errors.'))
      }
    }
    // Nothing else runs in between: the whole list is one turn of the event loop.
    return answerMany(c, prepared.map(attempt))
  })

  for (const [path, isPattern] of [
    ['/subscribe/:names', false],
    ['/psubscribe/:names', true],
  ] as const) {
    app.on(['GET', 'POST'], path, (c) => {
      const stream = pubsub.open([c.req.param('names')], isPattern)
      if (!stream) return c.json({ error: 'ERR too many subscribers' }, 400)
      return c.body(stream, 200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' })
    })
  }

  // GET or POST /SET/key?EX=10 with the value in the path or as the body: path, then body, then query.
  app.on(['GET', 'POST', 'PUT', 'HEAD'], '/:command/*', pathCommand)
  app.on(['GET', 'POST', 'PUT', 'HEAD'], '/:command', pathCommand)

  async function pathCommand(c: Context): Promise<Response> {
    const url = new URL(c.req.raw.url)
    const base = c.req.routePath.replace(/\/:command(\/\*)?$/, '')
    const args = url.pathname.slice(base.length).replace(/^\//, '').split('/').map(decodeSegment)
    if (c.req.method === 'POST' || c.req.method === 'PUT') {
      const body = await c.req.text()
      if (body !== '') args.push(body)
    }
    for (const [name, value] of url.searchParams) {
      if (name === '_token') continue
      args.push(name)
      if (value !== '') args.push(value)
    }
    return answerOne(
      c,
      attempt(() => prepare(args)()),
    )
  }

  // A route of its own, because notFound of a mounted app is never asked.
  app.all('*', (c) => c.json({ error: 'ERR method not allowed' }, 405))
  app.onError((error, c) => {
    if (error instanceof RedisError) return c.json({ error: error.message }, 400)
    options.log?.({ err: error }, 'redis request failed')
    return c.json({ error: 'ERR internal error' }, 500)
  })

  return { app, fetch: app.fetch, close: () => pubsub.close() }
}

function answerOne(c: Context, reply: Reply | RedisError): Response {
  const status = reply instanceof RedisError ? 400 : 200
  if (c.req.header('upstash-response-format') === 'resp2') return answerResp(c, toResp(reply), status)
  return c.json(describe(c, reply), status)
}

function answerMany(c: Context, replies: (Reply | RedisError)[]): Response {
  if (c.req.header('upstash-response-format') === 'resp2') {
    return answerResp(c, `*${replies.length}\r\n${replies.map(toResp).join('')}`, 200)
  }
  return c.json(replies.map((reply) => describe(c, reply)))
}

function answerResp(c: Context, text: string, status: 200 | 400): Response {
  return c.body(text, status, { 'content-type': 'application/octet-stream' })
}

function describe(c: Context, reply: Reply | RedisError): { error: string } | { result: unknown } {
  if (reply instanceof RedisError) return { error: reply.message }
  return { result: toJson(reply, c.req.header('upstash-encoding') === 'base64') }
}

async function readJson(c: Context): Promise<unknown> {
  try {
    return JSON.parse(await c.req.text()) as unknown
  } catch {
    throw new RedisError('ERR failed to parse the request body as JSON')
  }
}

/** Numbers and booleans are sent as text, as the real one takes them. */
function toArgs(value: unknown): string[] {
  if (!Array.isArray(value) || value.length === 0) throw new RedisError('ERR empty command')
  return value.map((item: unknown) => {
    if (typeof item === 'string') return item
    if (typeof item === 'number' || typeof item === 'boolean') return String(item)
    throw new RedisError('ERR command arguments must be strings or numbers')
  })
}

function toList(value: unknown): string[][] {
  if (!Array.isArray(value) || value.length === 0) throw new RedisError('ERR empty pipeline request')
  if (value.length > MAX_PIPELINE) throw new RedisError(`ERR more than ${MAX_PIPELINE} commands`)
  return value.map(toArgs)
}

function decodeSegment(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    throw new RedisError('ERR invalid escape in path')
  }
}

function isAuthorized(c: Context, token: string): boolean {
  const header = c.req.header('authorization') ?? ''
  const given =
    /^Bearer\s+(\S+)$/i.exec(header)?.[1] ?? new URL(c.req.raw.url).searchParams.get('_token') ?? ''
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(given), digest(token))
}
