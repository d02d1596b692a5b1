import { Agent, request } from 'node:http'
import { afterEach, expect, it } from 'vitest'
import { createLog } from '../adapters/pino/log.ts'
import { readJson } from './body.ts'
import { createApp } from './create-app.ts'
import { route } from './route.ts'
import { type Running, serve } from './serve.ts'

const LIMIT_BYTES = 100_000
/** Above the 500 ms after which the server cuts a connection whose refused body was not taken off it. */
const SLOW_MS = 700

let running: Running | undefined
const agent = new Agent({ keepAlive: true, maxSockets: 1 })
afterEach(async () => {
  agent.destroy()
  await running?.close()
})

async function start(): Promise<number> {
  const log = createLog({ service: 'test', level: 'silent' })
  const app = createApp({
    service: 'test',
    version: '1',
    log,
    allowedOrigins: '*',
    publicBaseUrl: 'http://localhost',
    ready: async () => {},
  })
  route(app, ['/json'], {
    POST: [async (context) => context.json(await readJson(context, { maxBytes: LIMIT_BYTES }))],
  })
  route(app, ['/slow'], {
    GET: [
      async (context) => {
        await new Promise((resolve) => setTimeout(resolve, SLOW_MS))
        return context.text('slow')
      },
    ],
  })
  running = await serve(app, {
    port: 0,
    host: '127.0.0.1',
    log: undefined,
    shutdownSeconds: 1,
    onDrain() {},
    onClosed: async () => {},
  })
  return running.port
}

interface Answer {
  status: number | undefined
  text: string
  reused: boolean
}

function ask(
  port: number,
  path: string,
  body?: Buffer,
  headers: Record<string, string> = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request(
      {
        port,
        host: '127.0.0.1',
        path,
        agent,
        method: body === undefined ? 'GET' : 'POST',
        headers,
        timeout: 5000,
      },
      async (answer) => {
        let text = ''
        for await (const chunk of answer) text += String(chunk)
        resolve({ status: answer.statusCode, text, reused: asked.reusedSocket })
      },
    )
    asked.on('timeout', () => asked.destroy(new Error('no answer')))
    asked.on('error', reject)
    asked.end(body)
  })
}

it.each([
  ['of known length', { 'content-length': '900000' }],
  ['of unknown length', { 'transfer-encoding': 'chunked' }],
])(
  'refuses a body over the limit %s without harm to the next request on the connection',
  async (_, headers) => {
    const port = await start()
    const big = Buffer.alloc(900_000, 'x')
    for (const _round of [1, 2]) {
      const refused = await ask(port, '/json', big, headers)
      expect([refused.status, JSON.parse(refused.text)]).toMatchObject([413, { code: 'body_too_large' }])
    }
    expect(await ask(port, '/slow')).toEqual({ status: 200, text: 'slow', reused: true })
  },
)

it('takes a body of unknown length up to the limit', async () => {
  const port = await start()
  const text = 'é'.repeat(49_000)
  const answer = await ask(port, '/json', Buffer.from(JSON.stringify({ text })), {
    'transfer-encoding': 'chunked',
    'content-type': 'application/json',
  })
  expect([answer.status, JSON.parse(answer.text)]).toEqual([200, { text }])
})
