import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { executeApp } from '../../functions/execute/routes.ts'
import { caller, listen, testPorts } from '../../functions/test-kit.ts'
import { testConfig } from '../../shared/config/test-config.ts'
import type { Running } from '../../shared/http/serve.ts'
import { findChromium } from '../client/chromium.ts'
import { type Browser, startChromium } from './devtools.ts'

const path = findChromium()
const test = it.skipIf(path === undefined)
let browser: Browser
let page: Server
let running: Running
let api: string
let origin: string

beforeAll(async () => {
  if (path === undefined) {
    console.log('browser: skipped, there is no chromium on this machine')
    return
  }
  page = createServer((_, res) =>
    res.writeHead(200, { 'content-type': 'text/html' }).end('<title>front end</title>'),
  )
  await new Promise<void>((done) => page.listen(0, done))
  origin = `http://127.0.0.1:${(page.address() as AddressInfo).port}`
  const app = executeApp(testConfig('execute', { ALLOWED_ORIGINS: origin }), testPorts())
  expect((await caller(app).get('/agent/runs')).status).toBe(200)
  running = await listen(app)
  api = `http://127.0.0.1:${running.port}`
  browser = await startChromium(path)
})
afterAll(async () => {
  await browser?.close()
  await running?.close()
  page?.closeAllConnections()
  page?.close()
})

test('/docs shows every route and asks no other origin', async () => {
  const { value, requested } = await browser.visit(
    `${api}/docs`,
    `document.querySelectorAll('.opblock').length > 20 && document.body.innerText`,
  )
  for (const text of ['/agent/execute', '/agent/run/{run_id}/stream', '/agent/stream-ticket'])
    expect(value).toContain(text)
  const elsewhere = requested.filter(
    (url) => !url.startsWith(`${api}/`) && !url.startsWith('data:') && url !== 'about:blank',
  )
  expect(elsewhere).toEqual([])
})

const ASK = (url: string) => `(async () => {
  const headers = { authorization: 'Bearer alice', apikey: 'k', 'x-client-info': 'supabase-js-web/2', 'content-type': 'application/json', 'x-region': 'eu', 'idempotency-key': crypto.randomUUID(), traceparent: '00-1-1-00' }
  try {
    const answer = await fetch('${url}', { method: 'POST', credentials: 'include', headers, body: '{"prompt":"x"}' })
    return { status: answer.status, id: answer.headers.get('x-request-id'), body: await answer.json() }
  } catch (error) {
    return { refused: String(error) }
  }
})()`

test('a page of an allowed origin creates with every header old callers send, with credentials, and reads the request id', async () => {
  const { value } = await browser.visit(origin, ASK(`${api}/functions/v1/agent-execute`))
  expect(value).toMatchObject({ status: 201, id: expect.any(String), body: { success: true } })
})

test('a page of another origin is refused by its browser', async () => {
  const { value } = await browser.visit(
    origin.replace('127.0.0.1', 'localhost'),
    ASK(`${api}/functions/v1/agent-execute`),
  )
  expect(value).toEqual({ refused: 'TypeError: Failed to fetch' })
})
