import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Context, Hono } from 'hono'
import { RespClient, RespError, type RespValue } from './resp.ts'

/** Where Debian and others put it; null: not installed. */
export function findRedisServer(): string | null {
  const folders = (process.env.PATH ?? '').split(':').concat('/usr/bin', '/usr/local/bin')
  return folders.map((folder) => join(folder, 'redis-server')).find((file) => existsSync(file)) ?? null
}

export interface RealRedis {
  /** The REST face over the real server: what `createRedis` makes, with nothing behind it but RESP. */
  app: Hono
  close(): Promise<void>
}

/** Starts a redis-server of its own (no persistence, loopback, free port) behind a thin REST shim. */
export async function startRealRedis(binary: string, token: string): Promise<RealRedis> {
  const folder = await mkdtemp(join(tmpdir(), 'real-redis-'))
  const port = await freePort()
  const args = [
    '--port',
    String(port),
    '--bind',
    '127.0.0.1',
    '--save',
    '',
    '--appendonly',
    'no',
    '--dir',
    folder,
  ]
  const child: ChildProcess = spawn(binary, args, { stdio: 'ignore' })
  const client = await connectWhenUp(port)
  const subscribers = new Set<RespClient>()

  const app = new Hono()
  app.use(async (c, next) =>
    c.req.header('authorization') === `Bearer ${token}`
      ? await next()
      : c.json({ error: 'Unauthorized' }, 401),
  )
  const describe = (c: Context, value: RespValue) => {
    if (value instanceof RespError) return { error: value.message }
    return { result: c.req.header('upstash-encoding') === 'base64' ? encode(value) : value }
  }
  app.post('/', async (c) => {
    const value = await client.call(((await c.req.json()) as unknown[]).map(String))
    return c.json(describe(c, value), value instanceof RespError ? 400 : 200)
  })
  app.post('/pipeline', async (c) => {
    const list = (await c.req.json()) as unknown[][]
    return c.json(
      (await Promise.all(list.map((item) => client.call(item.map(String))))).map((value) =>
        describe(c, value),
      ),
    )
  })
  app.post('/multi-exec', async (c) => {
    const list = (await c.req.json()) as unknown[][]
    const calls = [['MULTI'], ...list.map((item) => item.map(String)), ['EXEC']].map((item) =>
      client.call(item),
    )
    const last = (await Promise.all(calls)).at(-1) ?? null
    return Array.isArray(last)
      ? c.json(last.map((value) => describe(c, value)))
      : c.json(describe(c, last), 400)
  })
  for (const command of ['subscribe', 'psubscribe']) {
    app.post(`/${command}/:name`, async (c) => {
      const own = await RespClient.open(port)
      subscribers.add(own)
      const encoder = new TextEncoder()
      const name = c.req.param('name')
      const stream = new ReadableStream<Uint8Array>({
        async start(controller) {
          const send = (value: RespValue) => {
            if (Array.isArray(value)) controller.enqueue(encoder.encode(`data: ${value.join(',')}\n\n`))
          }
          own.onPush = send
          send(await own.call([command, name]))
        },
        cancel: () => own.close(),
      })
      return c.body(stream, 200, { 'content-type': 'text/event-stream' })
    })
  }

  return {
    app,
    async close() {
      client.close()
      for (const subscriber of subscribers) subscriber.close()
      const gone = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGKILL')
      await gone
      await rm(folder, { recursive: true, force: true })
    },
  }
}

function encode(value: RespValue): unknown {
  if (Array.isArray(value)) return value.map(encode)
  return typeof value === 'string' && value !== 'OK' ? Buffer.from(value).toString('base64') : value
}

async function connectWhenUp(port: number): Promise<RespClient> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await RespClient.open(port)
    } catch (error) {
      if (attempt > 200) throw error
      await new Promise((resolve) => setTimeout(resolve, 25))
    }
  }
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  return typeof address === 'object' && address ? address.port : 0
}
