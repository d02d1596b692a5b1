import { Redis as Client } from '@upstash/redis'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Served, serveApp } from '../qstash/testing/serve.ts'
import { redisSuite } from './redis.suite.ts'
import { createRedis, type Redis } from './redis.ts'
import { findRedisServer, type RealRedis, startRealRedis } from './testing/real-redis.ts'

const token = 'redis-token'
let nowMs = 0
const clock = () => Date.now() + nowMs
let ours: Redis
let served: Served

beforeAll(async () => {
  ours = createRedis({ token, now: clock, maxBytes: 2_000_000 })
  served = await serveApp(ours.app, '/redis')
})
afterAll(async () => {
  ours.close()
  await served.close()
})

redisSuite('our store', () => ({ url: served.url, token }))

const binary = findRedisServer()
describe.skipIf(binary === null)(
  binary ? 'a real redis-server' : 'a real redis-server (not installed: apt-get install redis-server)',
  () => {
    let real: RealRedis
    let servedReal: Served
    beforeAll(async () => {
      real = await startRealRedis(binary ?? '', token)
      servedReal = await serveApp(real.app)
    })
    afterAll(async () => {
      await servedReal.close()
      await real.close()
    })
    redisSuite('real', () => ({ url: servedReal.url, token }))
  },
)

describe('the REST face', () => {
  const request = async (path: string, init: RequestInit = {}) => {
    const response = await fetch(`${served.url}${path}`, {
      ...init,
      headers: { authorization: `Bearer ${token}`, ...init.headers },
    })
    return { status: response.status, body: await response.text() }
  }

  test('commands in the path, with body and query', async () => {
    expect(await request('/set/foo/bar')).toEqual({ status: 200, body: '{"result":"OK"}' })
    expect(await request('/get/foo')).toEqual({ status: 200, body: '{"result":"bar"}' })
    expect((await request('/set/foo?EX=100', { method: 'POST', body: 'from body' })).status).toBe(200)
    expect((await request('/get/foo')).body).toBe('{"result":"from body"}')
    expect((await request('/ttl/foo')).body).toBe('{"result":100}')
    expect((await request('/set/a%2Fb/c%20d')).status).toBe(200)
    expect((await request('/GET/a%2Fb')).body).toBe('{"result":"c d"}')
    expect((await request('/ping')).body).toBe('{"result":"PONG"}')
    expect((await request('/publish/chan/hello')).body).toBe('{"result":0}')
    expect((await request(`/get/foo?_token=${token}`, { headers: { authorization: '' } })).status).toBe(200)
    expect((await request('/get/foo?_token=no', { headers: { authorization: '' } })).status).toBe(401)
  })

  test('base64 on request, at any depth, but not for OK', async () => {
    const headers = { 'upstash-encoding': 'base64' }
    const body = JSON.stringify([
      ['SET', 'k', 'ü'],
      ['GET', 'k'],
      ['XADD', 'b64', '1-1', 'f', 'v'],
      ['XRANGE', 'b64', '-', '+'],
      ['GET', 'none'],
    ])
    const answer = await request('/pipeline', { method: 'POST', headers, body })
    expect(JSON.parse(answer.body)).toEqual([
      { result: 'OK' },
      { result: 'w7w=' },
      { result: 'MS0x' },
      { result: [['MS0x', ['Zg==', 'dg==']]] },
      { result: null },
    ])
  })

  test('RESP2 on request', async () => {
    const headers = { 'upstash-response-format': 'resp2' }
    const body = JSON.stringify([
      ['SET', 'k', 'ü'],
      ['GET', 'k'],
      ['DBSIZE', 'x'],
      ['LRANGE', 'none', 0, 1],
      ['GET', 'none'],
    ])
    const answer = await request('/pipeline', { method: 'POST', headers, body })
    expect(answer.body).toBe(
      "*5\r\n+OK\r\n$2\r\nü\r\n-ERR wrong number of arguments for 'dbsize' command\r\n*0\r\n$-1\r\n",
    )
  })

  test('bad requests get an answer that says why', async () => {
    const post = (path: string, body: string) => request(path, { method: 'POST', body })
    expect(await post('', '{')).toEqual({
      status: 400,
      body: '{"error":"ERR failed to parse the request body as JSON"}',
    })
    for (const body of ['[]', '{}', 'null', '[[]]', '[null]', '[{"a":1}]']) {
      expect((await post('', body)).status).toBe(400)
      expect((await post('/pipeline', body)).status).toBe(400)
    }
    expect((await post('', '["__proto__"]')).body).toContain('unknown command')
    expect((await post('', '["constructor","x"]')).body).toContain('unknown command')
    expect((await post('', '["EVAL","return 1",0]')).body).toContain("ERR unknown command 'EVAL'")
    expect((await request('', { method: 'DELETE' })).status).toBe(405)
    expect((await request('/get/%E0%A4%A')).status).toBe(400)
    expect((await post('', `["SET","k","${'x'.repeat(10 * 1024 * 1024)}"]`)).status).toBe(413)
  })

  test('memory is capped, and freed again', async () => {
    const client = new Client({ url: served.url, token, retry: false, enableTelemetry: false })
    await client.flushdb()
    const chunk = 'x'.repeat(300_000)
    for (let i = 0; i < 6; i += 1) await client.set(`fill:${i}`, chunk)
    await expect(client.set('fill:last', chunk)).rejects.toThrow('OOM')
    // What is overwritten does not count twice.
    await client.del('fill:1', 'fill:2')
    for (let i = 0; i < 50; i += 1) await client.set('fill:0', chunk)
    expect(await client.set('fill:last', chunk)).toBe('OK')
    await client.flushdb()
  })

  test('what expired is gone for every command', async () => {
    const client = new Client({ url: served.url, token, retry: false, enableTelemetry: false })
    await client.flushdb()
    await client.set('k', 'v', { ex: 10 })
    await client.rpush('l', 1)
    await client.expire('l', 10)
    nowMs += 10_000
    expect(await client.get('k')).toBeNull()
    expect(await client.keys('*')).toEqual([])
    expect(await client.dbsize()).toBe(0)
    expect(await client.set('k', 'w', { nx: true })).toBe('OK')
    expect(await client.rpush('l', 2)).toBe(1)
  })

  test('a hostile pattern is matched in no time', async () => {
    await request('', { method: 'POST', body: JSON.stringify(['SET', 'a'.repeat(2000), 'v']) })
    expect(
      (await request('', { method: 'POST', body: JSON.stringify(['KEYS', `${'a*'.repeat(500)}b`]) })).status,
    ).toBe(200)
  })
})
