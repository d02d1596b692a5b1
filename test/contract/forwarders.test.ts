import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { denoBinary, type Forwarders, forwarderNames, startForwarders } from './start-forwarders.ts'

const FUNCTIONS = resolve(import.meta.dirname, '../../supabase/functions')
const deno = denoBinary()
const test = it.skipIf(deno === undefined)

let upstream: Server
let answer: (req: IncomingMessage, res: ServerResponse) => void
let forwarders: Forwarders
let url: string

beforeAll(async () => {
  if (deno === undefined) {
    console.log(`forwarders: skipped, npm has no Deno for ${process.platform}-${process.arch}`)
    return
  }
  upstream = createServer((req, res) => answer(req, res))
  await new Promise<void>((done) => upstream.listen(0, '127.0.0.1', done))
  const { port } = upstream.address() as AddressInfo
  forwarders = await startForwarders(deno, { API_URL: `http://127.0.0.1:${port}/` }, ['agent-logs-phase2'])
  url = `${forwarders.origin}/functions/v1/agent-logs-phase2`
})
afterAll(async () => {
  await forwarders?.close()
  upstream?.closeAllConnections()
  upstream?.close()
})

async function bodyOf(req: IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of req) text += String(chunk)
  return text
}

test('there is one for each old name, and all they share is 30 lines', async () => {
  const names = ['execute', 'logs', 'status'].flatMap((name) => [`agent-${name}`, `agent-${name}-phase2`])
  expect(new Set(forwarderNames())).toEqual(new Set(names))
  expect(readFileSync(join(FUNCTIONS, '_shared/forward.ts'), 'utf8').split('\n').length).toBeLessThan(31)
})

test('their types are right for Deno', async () => {
  const files = forwarderNames().map((name) => join(FUNCTIONS, name, 'index.ts'))
  await promisify(execFile)(deno ?? '', ['check', '--quiet', '--no-config', '--no-lock', ...files], {
    env: {
      DENO_NO_UPDATE_CHECK: '1',
      NO_COLOR: '1',
      HOME: '/nonexistent',
      DENO_DIR: '/tmp/agent-functions-deno-check',
    },
  })
})

test('method, path, query, headers and body arrive as they were sent', async () => {
  let seen:
    | {
        method?: string | undefined
        url?: string | undefined
        headers: IncomingMessage['headers']
        body: string
      }
    | undefined
  answer = async (req, res) => {
    seen = { method: req.method, url: req.url, headers: req.headers, body: await bodyOf(req) }
    res.writeHead(201, {
      'content-type': 'application/json',
      'x-request-id': 'r-12345678',
      'retry-after': '7',
    })
    res.end('{"é":1}')
  }
  const headers = {
    authorization: 'Bearer t',
    apikey: 'k',
    'x-client-info': 'supabase-js-web/2',
    'content-type': 'application/json',
    'idempotency-key': 'i',
    'x-region': 'eu-west-1',
  }
  const response = await fetch(`${url}?run_id=a%20b&since=2026-01-01T00:00:00%2B00:00`, {
    method: 'POST',
    headers,
    body: '{"prompt":"é"}',
  })
  expect(seen).toMatchObject({
    method: 'POST',
    url: '/functions/v1/agent-logs-phase2?run_id=a%20b&since=2026-01-01T00:00:00%2B00:00',
    headers,
    body: '{"prompt":"é"}',
  })
  expect(seen?.headers.host).toBe(`127.0.0.1:${(upstream.address() as AddressInfo).port}`)
  expect([response.status, await response.text()]).toEqual([201, '{"é":1}'])
  expect(response.headers.get('x-request-id')).toBe('r-12345678')
  expect(response.headers.get('retry-after')).toBe('7')
})

test('a preflight is the API’s to answer', async () => {
  answer = (req, res) => {
    res
      .writeHead(req.method === 'OPTIONS' ? 204 : 500, {
        'access-control-allow-origin': String(req.headers.origin),
        'access-control-max-age': '7200',
      })
      .end()
  }
  const response = await fetch(url, {
    method: 'OPTIONS',
    headers: { origin: 'https://app.example.com', 'access-control-request-method': 'POST' },
  })
  expect([response.status, response.headers.get('access-control-allow-origin')]).toEqual([
    204,
    'https://app.example.com',
  ])
})

test.each([400, 401, 402, 404, 405, 409, 413, 429, 500, 503])('status %i stays', async (status) => {
  answer = (_, res) => res.writeHead(status, { 'content-type': 'application/json' }).end('{"error":"e"}')
  const response = await fetch(url)
  expect([response.status, await response.text()]).toEqual([status, '{"error":"e"}'])
})

test('a redirect and a compressed answer are no business of its own', async () => {
  answer = (_, res) => res.writeHead(307, { location: 'https://elsewhere.example.com/' }).end()
  const moved = await fetch(url, { redirect: 'manual' })
  expect([moved.status, moved.headers.get('location')]).toEqual([307, 'https://elsewhere.example.com/'])
  answer = (_, res) =>
    res
      .writeHead(200, { 'content-encoding': 'gzip', 'content-type': 'application/json' })
      .end(gzipSync('{"a":1}'))
  expect(await (await fetch(url)).json()).toEqual({ a: 1 })
})

test('a stream comes frame by frame, a broken one breaks, and a reader who leaves is told', async () => {
  let stream: ServerResponse | undefined
  const left = new Promise((done) => {
    answer = (req, res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
      stream = res
      if (req.url?.includes('leave')) res.once('close', done)
    }
  })
  const first = await fetch(url)
  const reader = first.body?.pipeThrough(new TextDecoderStream()).getReader()
  expect((await reader?.read())?.value).toBe('data: 1\n\n')
  stream?.write('data: 2\n\n')
  expect((await reader?.read())?.value).toBe('data: 2\n\n')
  stream?.destroy()
  await expect(reader?.read()).rejects.toThrow()

  const leaving = new AbortController()
  const second = await fetch(`${url}?leave=1`, { signal: leaving.signal })
  await second.body?.getReader().read()
  leaving.abort()
  await left
})

test.each([
  ['is not set', {}],
  ['leads nowhere', { API_URL: 'http://127.0.0.1:9' }],
])('when API_URL %s, callers read why, in a browser too', async (_, env) => {
  const lone = await startForwarders(deno ?? '', env, ['agent-status'])
  try {
    const response = await fetch(`${lone.origin}/functions/v1/agent-status`, {
      method: 'POST',
      body: '{}',
      headers: { origin: 'https://app.example.com' },
    })
    const body = (await response.json()) as Record<string, unknown>
    expect(response.status).toBe(503)
    expect(body).toEqual({
      success: false,
      error: body.error,
      detail: body.error,
      message: body.error,
      code: 'unavailable',
      request_id: response.headers.get('x-request-id'),
    })
    expect(body.error).toMatch(/API_URL is not set|cannot be reached/)
    expect(response.headers.get('retry-after')).toBe('2')
    expect(response.headers.get('access-control-allow-origin')).toBe('https://app.example.com')
  } finally {
    await lone.close()
  }
})
