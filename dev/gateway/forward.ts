import { type IncomingMessage, request, type ServerResponse } from 'node:http'
import type { Target } from './function-pool.ts'

/** RFC 9110 §7.6.1; `expect` because our own server has answered it already. */
const HOP_BY_HOP = [
  'connection',
  'expect',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'proxy-authenticate',
  'proxy-authorization',
]

/** A caller who still sends a request so long after its answer is cut off. */
const MAX_DISCARD_MS = 10_000

/**
 * - done: the whole answer was passed on
 * - aborted: the caller went away; the function was told by closing its connection
 * - cut: the function's connection broke in the middle of the answer; the caller's was broken too
 * - unreachable: it broke before the answer; nothing was sent to the caller yet
 * - refused: there was no connection; nothing of the request was read, so another process can have it
 */
export type Forwarded = 'done' | 'aborted' | 'cut' | 'unreachable' | 'refused'

/** Passes one request on and its answer back, both as streams: nothing is buffered beyond the sockets. Never rejects. */
export function forward(req: IncomingMessage, res: ServerResponse, target: Target): Promise<Forwarded> {
  return new Promise((resolve) => {
    let answered = false
    let settled = false
    let isConnected = false
    const settle = (outcome: Forwarded) => {
      if (settled) return
      settled = true
      res.off('close', onClose)
      req.unpipe(upstream)
      // Answered before all of it was read: the rest is taken off the connection, or its next request never comes.
      if (!req.readableEnded && !req.destroyed) discard(req)
      if (outcome !== 'done' || !upstream.writableFinished) upstream.destroy()
      resolve(outcome)
    }
    const upstream = request({
      host: '127.0.0.1',
      port: target.port,
      agent: target.agent,
      method: req.method,
      path: req.url,
      headers: requestHeaders(req),
    })
    upstream.on('response', (answer) => {
      answered = true
      res.writeHead(answer.statusCode ?? 502, answer.statusMessage, responseHeaders(answer))
      res.flushHeaders() // an event stream must open before its first event
      answer.pipe(res)
      answer.on('error', () => {})
      answer.on('close', () => {
        if (answer.complete) return
        res.destroy()
        settle('cut')
      })
    })
    upstream.on('error', () => {
      if (answered) return // the answer's own end decides
      if (res.destroyed) settle('aborted')
      else settle(isConnected ? 'unreachable' : 'refused')
    })
    const onClose = () => settle(res.writableFinished ? 'done' : 'aborted')
    res.on('close', onClose)
    req.on('error', () => {})
    upstream.on('socket', (socket) => {
      const begin = () => {
        isConnected = true
        req.pipe(upstream)
      }
      if (socket.connecting) socket.once('connect', begin)
      else begin()
    })
  })
}

function discard(req: IncomingMessage): void {
  const timer = setTimeout(() => req.destroy(), MAX_DISCARD_MS)
  req.once('close', () => clearTimeout(timer))
  req.resume()
}

function requestHeaders(req: IncomingMessage): Record<string, string | string[]> {
  const dropped = hopByHop(req.headers.connection)
  const headers: Record<string, string | string[]> = {}
  for (const [name, values] of Object.entries(req.headersDistinct)) {
    if (values === undefined || dropped.has(name)) continue
    headers[name] = values.length === 1 && values[0] !== undefined ? values[0] : values
  }
  const from = req.socket.remoteAddress ?? '127.0.0.1'
  const before = req.headers['x-forwarded-for']
  headers['x-forwarded-for'] = before ? `${String(before)}, ${from}` : from
  headers['x-forwarded-proto'] ??= 'http'
  headers['x-forwarded-host'] ??= req.headers.host ?? ''
  return headers
}

function responseHeaders(answer: IncomingMessage): string[] {
  const dropped = hopByHop(answer.headers.connection)
  const kept: string[] = []
  for (let index = 0; index + 1 < answer.rawHeaders.length; index += 2) {
    const name = answer.rawHeaders[index] ?? ''
    if (!dropped.has(name.toLowerCase())) kept.push(name, answer.rawHeaders[index + 1] ?? '')
  }
  return kept
}

function hopByHop(connection: string | undefined): Set<string> {
  const named = (connection ?? '').split(',').map((name) => name.trim().toLowerCase())
  return new Set([...HOP_BY_HOP, ...named.filter((name) => name !== '')])
}
