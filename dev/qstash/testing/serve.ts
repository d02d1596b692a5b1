import { createServer, type IncomingHttpHeaders, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import { type Env, Hono } from 'hono'

export interface Served {
  /** With the base path, without a slash at the end. */
  url: string
  port: number
  close(): Promise<void>
}

/** Serves a stand-in on loopback below `base`, as the stack mounts it. */
export async function serveApp<E extends Env>(app: Hono<E>, base = '', port = 0): Promise<Served> {
  const outer = new Hono()
  outer.route(base === '' ? '/' : base, app)
  const server = createServer((request, response) => void getRequestListener(outer.fetch)(request, response))
  const listening = await listen(server, port)
  return { url: `http://127.0.0.1:${listening}${base}`, port: listening, close: () => closeServer(server) }
}

export interface Received {
  method: string
  path: string
  headers: IncomingHttpHeaders
  body: string
  /** Unix ms. */
  atMs: number
}

export interface Answer {
  status?: number
  headers?: Record<string, string>
  body?: string
  /** Answer only after this long. */
  afterMs?: number
}

export interface Target {
  url: string
  received: Received[]
  /** Called for each request; default 200. */
  answer: (request: Received, index: number) => Answer
  /** Resolves when at least n requests came. */
  count(n: number): Promise<Received[]>
  close(): Promise<void>
}

/** A real HTTP server that records what is delivered to it. */
export async function startTarget(): Promise<Target> {
  const received: Received[] = []
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const one: Received = {
        method: request.method ?? '',
        path: request.url ?? '',
        headers: request.headers,
        body: Buffer.concat(chunks).toString('utf8'),
        atMs: Date.now(),
      }
      received.push(one)
      const { status = 200, headers = {}, body = '', afterMs = 0 } = target.answer(one, received.length - 1)
      setTimeout(() => response.writeHead(status, headers).end(body), afterMs)
    })
  })
  const port = await listen(server, 0)
  const target: Target = {
    url: `http://127.0.0.1:${port}`,
    received,
    answer: () => ({}),
    async count(n) {
      await until(
        () => received.length >= n,
        `${n} deliveries`,
        () => `${received.length} came`,
      )
      return received
    },
    close: () => closeServer(server),
  }
  return target
}

/** Polls; rejects after 4 s and says what it waited for. */
export async function until(
  test: () => boolean,
  what: string,
  detail: () => string = () => '',
): Promise<void> {
  const end = Date.now() + 4000
  while (!test()) {
    if (Date.now() > end) throw new Error(`waited in vain for ${what} ${detail()}`)
    await new Promise((resolve) => setTimeout(resolve, 3))
  }
}

export const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

async function listen(server: Server, port: number): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', resolve)
  })
  return (server.address() as AddressInfo).port
}

async function closeServer(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => {
    server.close(() => resolve())
  })
  server.closeAllConnections()
  await closed
}
