import { connect, type Socket } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { createLog } from '../adapters/pino/log.ts'
import { readJson } from './body.ts'
import { createApp } from './create-app.ts'
import { route } from './route.ts'
import { type ConnectionLimits, type Running, serve } from './serve.ts'

const LIMIT_BYTES = 10_000
const open: { running: Running; sockets: Socket[] }[] = []
afterEach(async () => {
  for (const { running, sockets } of open.splice(0)) {
    for (const socket of sockets) socket.destroy()
    await running.close()
  }
})

async function start(limits: Partial<ConnectionLimits> = {}) {
  const lines: unknown[] = []
  const log = createLog({ service: 'test', level: 'silent' })
  const kept = { ...log, warn: (fields: object, text: string) => void lines.push([text, fields]) }
  const app = createApp({
    service: 'test',
    version: '1',
    log,
    allowedOrigins: ['https://app.example.com'],
    publicBaseUrl: 'http://localhost',
    ready: async () => {},
  })
  route(app, ['/json'], {
    POST: [async (context) => context.json(await readJson(context, { maxBytes: LIMIT_BYTES }))],
  })
  const running = await serve(app, {
    port: 0,
    host: '127.0.0.1',
    log: kept,
    shutdownSeconds: 1,
    onDrain() {},
    onClosed: async () => {},
    limits: { checkMs: 50, ...limits },
  })
  const sockets: Socket[] = []
  open.push({ running, sockets })
  /** A raw connection and what came back on it. */
  const dial = () => {
    const socket = connect(running.port, '127.0.0.1')
    sockets.push(socket)
    let text = ''
    socket.setEncoding('utf8')
    socket.on('data', (chunk: string) => {
      text += chunk
    })
    socket.on('error', () => {})
    const closed = new Promise<void>((resolve) => socket.on('close', () => resolve()))
    return { socket, closed, text: () => text }
  }
  return { dial, lines }
}

/** Status and JSON body of the last answer in a text. */
function answerIn(text: string) {
  const last = text.slice(text.lastIndexOf('HTTP/1.1 '))
  const [head = '', body = ''] = last.split('\r\n\r\n')
  return { status: Number(head.split(' ')[1]), head, body: JSON.parse(body) as Record<string, unknown> }
}
function expectRefusal(text: string, status: number, code: string) {
  const { body, head, ...answer } = answerIn(text)
  expect({ ...answer, code: body.code }).toEqual({ status, code })
  expect([body.detail, body.message]).toEqual([body.error, body.error])
  expect(String(body.error).length).toBeGreaterThan(10)
  expect(body.request_id).toMatch(/^[\w-]{36}$/)
  expect(head.toLowerCase()).toContain('content-type: application/json')
}
const head = (more: string) =>
  `POST /json HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n${more}\r\n`

describe('what never becomes a request', () => {
  it.each([
    ['one long header', `GET /health HTTP/1.1\r\nhost: x\r\nx-long: ${'y'.repeat(20_000)}\r\n\r\n`],
    ['many headers', `GET /health HTTP/1.1\r\nhost: x\r\n${'x-a: 1234567890\r\n'.repeat(2000)}\r\n`],
    ['a long address', `GET /${'y'.repeat(20_000)} HTTP/1.1\r\nhost: x\r\n\r\n`],
    ['headers without end', `GET /health HTTP/1.1\r\nhost: x\r\nx-long: ${'y'.repeat(20_000)}`],
  ])('%s: 431', async (_what, bytes) => {
    const { dial } = await start()
    const { socket, closed, text } = dial()
    socket.write(bytes)
    await closed
    expectRefusal(text(), 431, 'headers_too_large')
  })

  it.each([
    ['noise', '\x00\x01\x02 what is this\r\n\r\n'],
    ['TLS', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
    ['two lengths', head('content-length: 5\r\ncontent-length: 6\r\n')],
    ['a length and chunks', head('content-length: 5\r\ntransfer-encoding: chunked\r\n')],
    ['a chunk size that is none', `${head('transfer-encoding: chunked\r\n')}zz\r\n`],
    ['a negative length', head('content-length: -1\r\n')],
    ['a header with a line break in its name', 'GET / HTTP/1.1\r\nhost: x\r\nx\n y: 1\r\n\r\n'],
  ])('%s: 400', async (_what, bytes) => {
    const { dial } = await start()
    const { socket, closed, text } = dial()
    socket.write(bytes, 'latin1')
    await closed
    expectRefusal(text(), 400, 'invalid_request')
  })

  it('headers that trickle in: 408, whatever keeps coming', async () => {
    const { dial } = await start({ headersMs: 200, requestMs: 400 })
    const { socket, closed, text } = dial()
    socket.write('GET /health HTTP/1.1\r\nhost: x\r\n')
    const trickle = setInterval(() => socket.write('x-a: 1\r\n'), 30)
    await closed
    clearInterval(trickle)
    expectRefusal(text(), 408, 'request_timeout')
  })

  it.each([
    ['of known length', 'content-length: 1000\r\n', (n: number) => `${n}`],
    ['in chunks', 'transfer-encoding: chunked\r\n', () => '1\r\n \r\n'],
  ])('a body that trickles in, %s: 408', async (_what, framing, piece) => {
    const { dial } = await start({ headersMs: 200, requestMs: 400 })
    const { socket, closed, text } = dial()
    socket.write(head(framing))
    let n = 0
    const trickle = setInterval(() => socket.write(piece(n++ % 10)), 30)
    await closed
    clearInterval(trickle)
    expectRefusal(text(), 408, 'request_timeout')
  })

  it('connections over the number are closed, told once, and the others go on', async () => {
    const { dial, lines } = await start({ connections: 3 })
    const held = [dial(), dial(), dial()]
    await Promise.all(
      held.map(({ socket }) => new Promise<void>((resolve) => socket.once('connect', () => resolve()))),
    )
    const over = [dial(), dial(), dial()]
    await Promise.all(over.map(({ closed }) => closed))
    expect(over.map(({ text }) => text())).toEqual(['', '', ''])
    expect(lines).toEqual([['too many connections: new ones are closed', { count: 3 }]])
    held[0]?.socket.write('GET /health HTTP/1.1\r\nhost: x\r\n\r\n')
    await expect.poll(() => held[0]?.text()).toContain('"healthy"')
  })
})

describe('bodies', () => {
  it.each([
    ['a length over the limit, before a byte of it', `${head('content-length: 20000\r\n')}`],
    ['a length that no memory has', `${head('content-length: 999999999999999\r\n')}`],
    [
      'chunks over the limit',
      `${head('transfer-encoding: chunked\r\n')}${'400\r\n'.concat(' '.repeat(1024), '\r\n').repeat(20)}0\r\n\r\n`,
    ],
  ])('%s: 413', async (_what, bytes) => {
    const { dial } = await start()
    const { socket, text } = dial()
    socket.write(bytes)
    await expect.poll(text, { timeout: 5000 }).toContain('body_too_large')
    expectRefusal(text(), 413, 'body_too_large')
  })

  it('chunks without end are cut, and take no memory', async () => {
    const { dial } = await start()
    const { socket, closed, text } = dial()
    socket.write(head('transfer-encoding: chunked\r\n'))
    const megabyte = `100000\r\n${' '.repeat(1024 * 1024)}\r\n`
    const before = process.memoryUsage().arrayBuffers
    let sent = 0
    const write = () => {
      while (sent < 200 && !socket.destroyed) {
        sent += 1
        if (!socket.write(megabyte)) {
          socket.once('drain', write)
          return
        }
      }
    }
    write()
    await closed
    expect(sent).toBeLessThan(120)
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(100 * 1024 * 1024)
    if (text() !== '') expectRefusal(text(), 413, 'body_too_large')
  }, 20_000)

  it.each([
    ['deep arrays', '['.repeat(5000) + ']'.repeat(5000)],
    ['deep objects', `${'{"a":'.repeat(900)}1${'}'.repeat(900)}`],
    ['65 levels', `{"a":${'['.repeat(65)}${']'.repeat(65)}}`],
  ])('%s: 400', async (_what, body) => {
    const { dial } = await start()
    const { socket, text } = dial()
    socket.write(head(`content-length: ${body.length}\r\n`) + body)
    await expect.poll(text).toContain('"request_id"')
    const { status } = answerIn(text())
    expect(status).toBe(400)
  })

  it('an answer that comes before its request is whole is not garbled by the end of it', async () => {
    const { dial } = await start({ headersMs: 200, requestMs: 300 })
    const { socket, closed, text } = dial()
    // refused for its type before its body is there
    socket.write(
      'POST /json HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\ncontent-length: 500\r\n\r\nabc',
    )
    await closed
    await wait(50)
    expect(text().match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 415'])
  })
})
