import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { request as httpRequest } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client, Receiver } from '@upstash/qstash'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createQStash, type QStash, type QStashOptions } from './qstash.ts'
import {
  type Received,
  type Served,
  serveApp,
  sleep,
  startTarget,
  type Target,
  until,
} from './testing/serve.ts'

const byText = (a: string, b: string) => (a < b ? -1 : 1)

const token = 'qstash-token'
const keys = { currentKey: 'sig_current', nextKey: 'sig_next' }

let target: Target
let qstash: QStash
let served: Served
let client: Client
let url: string
let closers: (() => Promise<void>)[] = []

async function start(options: Partial<QStashOptions> = {}): Promise<void> {
  qstash = createQStash({ token, ...keys, timeScale: 0.01, ...options })
  served = await serveApp(qstash.app, '/qstash')
  client = new Client({ baseUrl: served.url, token, devMode: false, enableTelemetry: false, retry: false })
  const [mine, face] = [qstash, served]
  closers.push(async () => {
    await mine.close()
    await face.close()
  })
}

beforeEach(async () => {
  // The SDK prints every refused request.
  vi.spyOn(console, 'error').mockImplementation(() => {})
  target = await startTarget()
  url = `${target.url}/in`
  closers = [target.close]
})
afterEach(async () => {
  vi.restoreAllMocks()
  for (const close of closers.reverse()) await close()
})

const api = async (path: string, init: RequestInit = {}) => {
  const response = await fetch(`${served.url}${path}`, {
    ...init,
    headers: { authorization: `Bearer ${token}`, ...init.headers },
  })
  const text = await response.text()
  return {
    status: response.status,
    json: text === '' ? null : (JSON.parse(text) as never as Record<string, never>),
  }
}
const idle = () =>
  until(
    () => qstash.stats().pending === 0,
    'an empty queue',
    () => JSON.stringify(qstash.messages()),
  )
const pathsOf = (received: Received[]) => received.map((one) => one.path)

describe('publish and delivery', () => {
  test('body, method, headers and signature arrive as the real one sends them', async () => {
    await start()
    const destination = `${target.url}/a//b/https://c.test/?x=1&y=%2F%20`
    const { messageId } = await client.publishJSON({
      url: destination,
      body: { ä: 1 },
      method: 'PUT',
      headers: { 'X-Mine': 'v' },
    })
    const [one] = await target.count(1)
    expect(one).toMatchObject({ method: 'PUT', path: '/a//b/https://c.test/?x=1&y=%2F%20', body: '{"ä":1}' })
    expect(one?.headers).toMatchObject({
      'user-agent': 'Upstash-QStash',
      'content-type': 'application/json',
      'x-mine': 'v',
      'upstash-message-id': messageId,
      'upstash-retried': '0',
      'upstash-region': 'EU-CENTRAL-1',
      'upstash-caller-ip': '127.0.0.1',
    })
    expect(one?.headers.authorization).toBeUndefined()
    const receiver = new Receiver({
      currentSigningKey: keys.currentKey,
      nextSigningKey: 'other',
      devMode: false,
    })
    const signature = String(one?.headers['upstash-signature'])
    expect(await receiver.verify({ signature, body: one?.body ?? '', url: destination })).toBe(true)
    await expect(receiver.verify({ signature, body: 'x', url: destination })).rejects.toThrow('body hash')
    await expect(receiver.verify({ signature, body: one?.body ?? '', url })).rejects.toThrow('subject')
    const claims = JSON.parse(Buffer.from(signature.split('.')[1] ?? '', 'base64url').toString()) as Record<
      string,
      number
    >
    expect(claims).toMatchObject({ iss: 'Upstash', sub: destination, nbf: 0, exp: (claims.iat ?? 0) + 300 })
  })

  test('options in the query are taken out of the destination', async () => {
    await start()
    const path = `/v2/publish/${url}?upstash-retries=0&keep=1&upstash-forward-a=b%20c&qstash_token=${token}`
    const answer = await fetch(`${served.url}${path}`, { method: 'POST', body: 'x' })
    expect(answer.status).toBe(200)
    const [one] = await target.count(1)
    expect(one?.path).toBe('/in?keep=1')
    expect(one?.headers.a).toBe('b c')
  })

  test('delay and not-before hold a message back', async () => {
    await start()
    const begun = Date.now()
    await client.publish({ url: `${url}?late`, delay: 20 })
    await client.publish({ url: `${url}?notbefore`, notBefore: Math.floor(begun / 1000) + 31, delay: 1 })
    await client.publish({ url: `${url}?now` })
    const received = await target.count(3)
    expect(pathsOf(received)).toEqual(['/in?now', '/in?late', '/in?notbefore'])
    expect((received[1]?.atMs ?? 0) - begun).toBeGreaterThanOrEqual(195)
  })

  test('a duplicate is accepted with 202 and the old id, for ten minutes', async () => {
    let offsetMs = 0
    await start({ now: () => Date.now() + offsetMs })
    const publish = () =>
      api(`/v2/publish/${url}`, { method: 'POST', body: 'x', headers: { 'upstash-deduplication-id': 'one' } })
    const first = await publish()
    expect(first.status).toBe(200)
    await target.count(1)
    const second = await publish()
    expect(second).toEqual({ status: 202, json: { messageId: first.json?.messageId, deduplicated: true } })
    offsetMs = 6001
    expect((await publish()).status).toBe(200)
    expect((await target.count(2)).length).toBe(2)
  })

  test('deduplication by content looks at destination, body and forwarded headers', async () => {
    await start()
    const publish = async (given: object) =>
      await client.publish({ url, body: 'a', contentBasedDeduplication: true, ...given })
    const first = await publish({})
    expect((await publish({})).messageId).toBe(first.messageId)
    for (const other of [
      { body: 'b' },
      { url: `${url}?2` },
      { headers: { 'x-a': '1' } },
      { headers: { 'content-type': 'a/b' } },
    ]) {
      expect((await publish(other)).messageId).not.toBe(first.messageId)
    }
    expect((await target.count(5)).length).toBe(5)
  })

  test('what a publisher may not forge or leak is not forwarded', async () => {
    await start()
    await api(`/v2/publish/${url}`, {
      method: 'POST',
      body: 'x',
      headers: {
        'upstash-header-forward': 'true',
        'x-own': 'kept',
        'upstash-forward-upstash-signature': 'forged',
        'upstash-forward-host': 'evil.test',
        'upstash-forward-content-length': '99',
        'upstash-forward-authorization': 'Bearer for-the-target',
      },
    })
    const [one] = await target.count(1)
    expect(one?.headers['x-own']).toBe('kept')
    expect(one?.headers.authorization).toBe('Bearer for-the-target')
    expect(one?.headers.host).toBe(new URL(url).host)
    expect(one?.headers['upstash-signature']).not.toBe('forged')
    expect(one?.body).toBe('x')
  })

  test('a batch answers for each message, refusals among them', async () => {
    await start()
    const answers = (await api('/v2/batch', {
      method: 'POST',
      body: JSON.stringify([
        { destination: `${url}?1`, body: 'a' },
        { destination: 'ftp://no', body: 'a' },
        { destination: `${url}?2`, headers: { 'Upstash-Forward-X': 'a\r\nInjected: 1' } },
        { destination: `${url}?3`, headers: { 'bad name': 'x' } },
        { destination: `${url}?4`, body: 'x'.repeat(1024 * 1024 + 1) },
        null,
        { destination: `${url}?5`, headers: { 'Upstash-Deduplication-Id': 'd' } },
        { destination: `${url}?5`, headers: { 'Upstash-Deduplication-Id': 'd' } },
      ]),
    })) as { status: number; json: unknown }
    expect(answers.status).toBe(200)
    const list = answers.json as { messageId?: string; error?: string; deduplicated?: boolean }[]
    expect(list.map((one) => (one.messageId ? 'ok' : 'error'))).toEqual([
      'ok',
      'error',
      'error',
      'error',
      'error',
      'error',
      'ok',
      'ok',
    ])
    expect(list[7]).toEqual({ messageId: list[6]?.messageId, deduplicated: true })
    await idle()
    expect(pathsOf(target.received).sort(byText)).toEqual(['/in?1', '/in?5'])
  })
})

describe('retries', () => {
  test('follow the expression, keep the id, count up, and end in the dead letters with a failure callback', async () => {
    await start()
    target.answer = (request) =>
      request.path === '/in' ? { status: 500, body: 'broken', headers: { 'x-why': 'test' } } : {}
    const { messageId } = await client.publishJSON({
      url,
      body: { a: 1 },
      retries: 2,
      retryDelay: '1000 * (1 + retried)',
      callback: `${target.url}/callback`,
      failureCallback: `${target.url}/failed`,
      label: ['one', 'two'],
    })
    await idle()
    const attempts = target.received.filter((one) => one.path === '/in')
    expect(attempts.map((one) => one.headers['upstash-retried'])).toEqual(['0', '1', '2'])
    expect(new Set(attempts.map((one) => one.headers['upstash-message-id']))).toEqual(new Set([messageId]))
    expect((attempts[2]?.atMs ?? 0) - (attempts[1]?.atMs ?? 0)).toBeGreaterThanOrEqual(19)
    expect(target.received.filter((one) => one.path === '/callback').length).toBe(3)
    const failed = JSON.parse(target.received.find((one) => one.path === '/failed')?.body ?? '{}') as Record<
      string,
      never
    >
    expect(failed).toMatchObject({
      status: 500,
      retried: 2,
      maxRetries: 2,
      sourceMessageId: messageId,
      url,
      method: 'POST',
    })
    expect(Buffer.from(failed.body ?? '', 'base64').toString()).toBe('broken')
    expect(Buffer.from(failed.sourceBody ?? '', 'base64').toString()).toBe('{"a":1}')
    expect((failed as unknown as { header: Record<string, string[]> }).header['x-why']).toEqual(['test'])
    const { messages } = await client.dlq.listMessages()
    expect(messages).toHaveLength(1)
    expect(messages[0]).toMatchObject({
      messageId,
      responseStatus: 500,
      responseBody: 'broken',
      dlqId: failed.dlqId,
      labels: ['one', 'two'],
    })
    expect((await client.dlq.listMessages({ filter: { label: 'three' } })).messages).toEqual([])
    const states = (await client.logs({ messageIds: [messageId] })).logs.map((log) => log.state)
    expect(states).toEqual([
      'FAILED',
      'ERROR',
      'ACTIVE',
      'RETRY',
      'ERROR',
      'ACTIVE',
      'RETRY',
      'ERROR',
      'ACTIVE',
      'CREATED',
    ])
  })

  test('Retry-After is honoured, 0 at once', async () => {
    await start()
    target.answer = (_request, index) =>
      [
        { status: 503, headers: { 'retry-after': '10' } },
        { status: 429, headers: { 'retry-after': '0' } },
        {},
      ][index] ?? {}
    await client.publish({ url, retryDelay: '86400000' })
    const received = await target.count(3)
    expect((received[1]?.atMs ?? 0) - (received[0]?.atMs ?? 0)).toBeGreaterThanOrEqual(95)
  })

  test('489 with its header stops at once, 489 alone does not; a redirect is a failure', async () => {
    await start()
    target.answer = (request) => {
      if (request.path === '/poison')
        return { status: 489, headers: { 'upstash-nonretryable-error': 'true' } }
      if (request.path === '/plain') return { status: 489 }
      return { status: 307, headers: { location: '/elsewhere' } }
    }
    for (const path of ['poison', 'plain', 'moved'])
      await client.publish({ url: `${target.url}/${path}`, retries: 1, retryDelay: '100' })
    await idle()
    expect(pathsOf(target.received).sort(byText)).toEqual(['/moved', '/moved', '/plain', '/plain', '/poison'])
    expect(qstash.stats()).toMatchObject({ failed: 3, deadLetters: 3 })
  })

  test('a timeout and a refused connection are retried', async () => {
    await start()
    target.answer = (_request, index) => (index === 0 ? { afterMs: 400 } : {})
    await client.publish({ url, timeout: 5, retries: 1, retryDelay: '100' })
    await client.publish({ url: 'http://127.0.0.1:1/', retries: 1, retryDelay: '100' })
    await idle()
    expect(target.received.length).toBe(2)
    expect(qstash.stats()).toMatchObject({ delivered: 1, failed: 1 })
    const [letter] = (await client.dlq.listMessages()).messages
    expect(letter).toMatchObject({ url: 'http://127.0.0.1:1/', responseStatus: 0 })
  })

  test('a dead letter is sent again with a new id and can be deleted', async () => {
    await start()
    let broken = true
    target.answer = () => ({ status: broken ? 500 : 200 })
    const ids = await Promise.all(
      ['1', '2', '3'].map((n) => client.publish({ url: `${url}?${n}`, body: n, retries: 0 })),
    )
    await until(() => qstash.stats().deadLetters === 3, 'dead letters')
    broken = false
    const { messages } = await client.dlq.listMessages()
    const [first, second, third] = messages.map((message) => message.dlqId)
    const { responses } = await client.dlq.retry(first ?? '')
    await idle()
    expect(ids.map((one) => one.messageId)).not.toContain(responses[0]?.messageId)
    expect(target.received.at(-1)?.headers['upstash-message-id']).toBe(responses[0]?.messageId)
    expect(target.received.at(-1)?.body).toBe(messages[0]?.body)
    expect((await api(`/v2/dlq/retry/${second}`, { method: 'POST' })).status).toBe(201)
    await client.dlq.delete(third ?? '')
    await expect(client.dlq.delete(third ?? '')).rejects.toThrow('not found')
    expect((await client.dlq.listMessages()).messages).toEqual([])
    expect(await client.dlq.retry({ all: true })).toMatchObject({ responses: [] })
  })
})

describe('messages, queues, flow control, groups, schedules, keys', () => {
  test('a message can be read and cancelled, by id or by filter; unknown filters cancel nothing', async () => {
    await start()
    const one = await client.publish({
      url,
      body: 'text',
      delay: 5000,
      label: 'run-1',
      retries: 7,
      retryDelay: '5',
    })
    const two = await client.publish({ url: `${url}?2`, body: 'x', delay: 5000, label: ['run-2', 'x'] })
    await client.publish({ url: `${url}?3`, delay: 5000, flowControl: { key: 'k', parallelism: 1 } })
    expect(await client.messages.get(one.messageId)).toMatchObject({
      body: 'text',
      label: 'run-1',
      maxRetries: 7,
      url,
      retryDelayExpression: '5',
    })
    expect((await api('/v2/messages?nonsense=1', { method: 'DELETE' })).status).toBe(400)
    expect((await api('/v2/messages?label=', { method: 'DELETE' })).status).toBe(400)
    expect(await client.messages.cancel({ filter: { label: 'nobody' } })).toEqual({ cancelled: 0 })
    expect(await client.messages.cancel({ filter: { label: ['x', 'y'] } })).toEqual({ cancelled: 1 })
    await expect(client.messages.get(two.messageId)).rejects.toThrow('not found')
    expect(await client.messages.cancel(one.messageId)).toEqual({ cancelled: 1 })
    expect(await client.messages.cancel({ all: true })).toEqual({ cancelled: 1 })
    expect(qstash.stats().pending).toBe(0)
    expect(target.received).toEqual([])
  })

  test('cancelling one that is on the wire stops its retries', async () => {
    await start()
    target.answer = () => ({ status: 500, afterMs: 60 })
    const { messageId } = await client.publish({ url, retries: 5, retryDelay: '10' })
    await target.count(1)
    await client.messages.cancel(messageId)
    await idle()
    expect(target.received.length).toBe(1)
    expect(qstash.stats().deadLetters).toBe(0)
  })

  test('a queue keeps order through retries, can be paused and deleted', async () => {
    await start()
    const queue = client.queue({ queueName: 'orders' })
    await queue.upsert({ parallelism: 1, paused: true })
    let failures = 2
    target.answer = (request) => (request.path.endsWith('1') && failures-- > 0 ? { status: 500 } : {})
    for (const n of [1, 2, 3]) await queue.enqueueJSON({ url: `${url}?${n}`, body: n, retryDelay: '500' })
    await sleep(40)
    expect(target.received).toEqual([])
    expect(await queue.get()).toMatchObject({ name: 'orders', parallelism: 1, paused: true, lag: 3 })
    await queue.resume()
    await idle()
    expect(pathsOf(target.received)).toEqual(['/in?1', '/in?1', '/in?1', '/in?2', '/in?3'])
    expect((await client.queue().list()).length).toBe(1)
    await queue.pause()
    await queue.enqueueJSON({ url, body: 4 })
    await queue.delete()
    expect(qstash.stats().pending).toBe(0)
    await expect(queue.get()).rejects.toThrow('not found')
  })

  test('flow control limits deliveries in flight and per period', async () => {
    await start()
    let active = 0
    let most = 0
    target.answer = () => {
      active += 1
      most = Math.max(most, active)
      setTimeout(() => (active -= 1), 25)
      return { afterMs: 30 }
    }
    for (let n = 0; n < 6; n += 1) await client.publish({ url, flowControl: { key: 'two', parallelism: 2 } })
    await idle()
    expect(most).toBe(2)

    target.answer = () => ({})
    target.received.length = 0
    for (let n = 0; n < 6; n += 1)
      await client.publish({ url, flowControl: { key: 'slow', rate: 2, period: '10s' } })
    await idle()
    const [first, , third, , fifth] = target.received
    // 100 ms apart as sent; a busy machine receives some of them late. Without the limit all come within a few milliseconds.
    expect((third?.atMs ?? 0) - (first?.atMs ?? 0)).toBeGreaterThanOrEqual(30)
    expect((fifth?.atMs ?? 0) - (third?.atMs ?? 0)).toBeGreaterThanOrEqual(30)
    expect(await client.flowControl.get('slow')).toMatchObject({
      rateMax: 2,
      ratePeriod: 10,
      waitListSize: 0,
      isPaused: false,
    })
  })

  test('a flow control key can be paused, pinned and reset', async () => {
    await start()
    await client.flowControl.pause('k')
    await client.flowControl.pin('k', { parallelism: 7 })
    await client.publish({ url, flowControl: { key: 'k', parallelism: 1 } })
    await sleep(30)
    expect(target.received).toEqual([])
    expect(await client.flowControl.get('k')).toMatchObject({
      isPaused: true,
      parallelismMax: 7,
      waitListSize: 1,
    })
    await client.flowControl.unpin('k', { parallelism: true })
    await client.flowControl.resetRate('k')
    await client.flowControl.resume('k')
    await target.count(1)
    expect(await client.flowControl.getGlobalParallelism()).toMatchObject({ parallelismMax: 100 })
  })

  test('a URL group delivers to every endpoint', async () => {
    await start()
    await client.urlGroups.addEndpoints({
      name: 'all',
      endpoints: [{ url: `${url}?1`, name: 'first' }, { url: `${url}?2` }],
    })
    const answers = (await client.publish({ urlGroup: 'all', body: 'x', deduplicationId: 'd' })) as {
      messageId: string
      url: string
    }[]
    expect(answers.map((one) => one.url).sort(byText)).toEqual([`${url}?1`, `${url}?2`])
    const received = await target.count(2)
    expect(received.map((one) => one.headers['upstash-topic-name'])).toEqual(['all', 'all'])
    const again = (await client.publish({ urlGroup: 'all', body: 'x', deduplicationId: 'd' })) as {
      deduplicated?: boolean
    }[]
    expect(again.map((one) => one.deduplicated)).toEqual([true, true])
    await client.urlGroups.removeEndpoints({ name: 'all', endpoints: [{ name: 'first' }] })
    expect((await client.urlGroups.get('all')).endpoints).toEqual([{ url: `${url}?2` }])
    await client.urlGroups.delete('all')
    await expect(client.publish({ urlGroup: 'all' })).rejects.toThrow('not found')
  })

  test('a schedule publishes when it is due, not when paused', async () => {
    let nowMs = Date.parse('2026-01-01T00:00:59.950Z')
    const begun = Date.now()
    await start({ now: () => nowMs + (Date.now() - begun) })
    const { scheduleId } = await client.schedules.create({
      destination: url,
      cron: '* * * * *',
      body: 'tick',
      scheduleId: 'mine',
    })
    const paused = await client.schedules.create({ destination: `${url}?paused`, cron: '* * * * *' })
    await client.schedules.pause({ schedule: paused.scheduleId })
    const [one] = await target.count(1)
    expect(one?.headers['upstash-schedule-id']).toBe('mine')
    expect(one?.body).toBe('tick')
    nowMs += 60_000
    await client.publish({ url: `${url}?wake` })
    await target.count(3)
    await sleep(20)
    expect(pathsOf(target.received).sort(byText)).toEqual(['/in', '/in', '/in?wake'])
    expect(await client.schedules.get(scheduleId)).toMatchObject({
      cron: '* * * * *',
      destination: url,
      isPaused: false,
    })
    await client.schedules.delete(scheduleId)
    expect((await client.schedules.list()).map((one) => one.scheduleId)).toEqual([paused.scheduleId])
    await expect(client.schedules.create({ destination: url, cron: '61 * * * *' })).rejects.toThrow('minute')
  })

  test('rotated keys sign the next delivery', async () => {
    await start()
    expect((await api('/v2/keys')).json).toEqual({ current: 'sig_current', next: 'sig_next' })
    const rotated = (await api('/v2/keys/rotate', { method: 'POST' })).json as unknown as {
      current: string
      next: string
    }
    expect(rotated.current).toBe('sig_next')
    await client.publish({ url, body: 'x' })
    const [one] = await target.count(1)
    const receiver = new Receiver({
      currentSigningKey: 'sig_current',
      nextSigningKey: 'sig_next',
      devMode: false,
    })
    expect(
      await receiver.verify({ signature: String(one?.headers['upstash-signature']), body: 'x', url }),
    ).toBe(true)
  })
})

describe('bad input', () => {
  test('without the token nothing answers', async () => {
    await start()
    for (const path of [
      '/v2/publish/https://x.test',
      '/v2/batch',
      '/v2/queues',
      '/v2/dlq/retry',
      '/v2/keys/rotate',
    ]) {
      for (const authorization of ['', 'Bearer no', `Basic ${token}`, `Bearer ${token}x`]) {
        const answer = await api(path, { method: 'POST', headers: { authorization }, body: '[]' })
        expect(answer).toEqual({ status: 401, json: { error: 'invalid token' } })
      }
    }
    expect((await api('/v2/nothing')).status).toBe(404)
  })

  test.each([
    ['upstash-retries', '-1'],
    ['upstash-retries', '1e9'],
    ['upstash-delay', 'soon'],
    ['upstash-delay', '900d'],
    ['upstash-not-before', 'tomorrow'],
    ['upstash-timeout', '5 parsecs'],
    ['upstash-method', 'BREW'],
    ['upstash-retry-delay', 'process.exit(1)'],
    ['upstash-callback', 'file:///etc/passwd'],
    ['upstash-failure-callback', 'not a url'],
    ['upstash-flow-control-value', 'x'],
    ['upstash-label', 'a b;c'],
    ['upstash-deduplication-id', 'x'.repeat(300)],
  ])('%s: %s is refused', async (name, value) => {
    await start()
    const headers = {
      [name]: value,
      'upstash-flow-control-key': 'k',
      ...(name.includes('flow') ? {} : { 'upstash-flow-control-value': 'rate=1' }),
    }
    const answer = await api(`/v2/publish/${url}`, { method: 'POST', headers })
    expect(answer.status).toBe(400)
    expect(String(answer.json?.error).toLowerCase()).toContain(name.replace('upstash-', '').split('-')[0])
    expect(qstash.stats().pending).toBe(0)
  })

  test.each([
    '',
    'http://',
    'ftp://a.test',
    'javascript:alert(1)',
    'http://user:pass@a.test/',
    'http:/one-slash',
    'a/b',
  ])('destination %j is refused', async (destination) => {
    await start()
    expect([400, 404]).toContain((await api(`/v2/publish/${destination}`, { method: 'POST' })).status)
    expect(qstash.stats().pending).toBe(0)
  })

  test('bodies over the limit are refused, with and without a length', async () => {
    await start()
    const big = 'x'.repeat(2 * 1024 * 1024)
    expect((await api(`/v2/publish/${url}`, { method: 'POST', body: big })).status).toBe(413)
    const chunked = await new Promise<number>((resolve, reject) => {
      const request = httpRequest(
        `${served.url}/v2/publish/${url}`,
        { method: 'POST', headers: { authorization: `Bearer ${token}` } },
        (response) => {
          response.resume()
          resolve(response.statusCode ?? 0)
        },
      )
      request.on('error', reject)
      for (let i = 0; i < 32; i += 1) request.write('x'.repeat(64 * 1024))
      request.end()
    })
    expect(chunked).toBe(413)
    expect((await api(`/v2/publish/${url}`, { method: 'POST', body: 'x'.repeat(1024 * 1024) })).status).toBe(
      200,
    )
  })

  test('memory is bounded: pending messages, dead letters, names', async () => {
    await start({ limits: { maxMessages: 3, maxDeadLetters: 2, maxNames: 1, maxPendingBytes: 1000 } })
    for (let n = 0; n < 3; n += 1) await client.publish({ url: `${url}?${n}`, delay: 10_000 })
    await expect(client.publish({ url })).rejects.toThrow('quota')
    await client.messages.cancel({ all: true })
    await expect(client.publish({ url, body: 'x'.repeat(1001) })).rejects.toThrow('quota')
    target.answer = () => ({ status: 500 })
    for (let n = 0; n < 3; n += 1) {
      await client.publish({ url, retries: 0, body: 'x'.repeat(400) })
      await idle()
    }
    expect(qstash.stats()).toMatchObject({ deadLetters: 2, pendingBytes: 0 })
    await client.queue({ queueName: 'a' }).upsert({})
    await expect(client.queue({ queueName: 'b' }).upsert({})).rejects.toThrow('quota')
    await expect(client.queue({ queueName: '../x' }).upsert({})).rejects.toThrow('queueName')
    target.answer = () => ({})
    for (const key of ['a', 'b', 'c']) {
      await client.publish({ url, flowControl: { key, rate: 9 } })
      await idle()
    }
  })
})

describe('faults and restarts', () => {
  test('with faults every message comes twice and shuffled, the same way for the same seed', async () => {
    await start({ faults: { duplicate: 1, shuffleMs: 150, seed: 7 } })
    for (let n = 0; n < 12; n += 1) await client.publish({ url: `${url}?${n}`, body: String(n) })
    await target.count(24)
    await idle()
    const order = target.received.map((one) => Number(one.body))
    expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: 24 }, (_, i) => Math.floor(i / 2)))
    expect(order.slice(0, 12)).not.toEqual(Array.from({ length: 12 }, (_, i) => i))
    expect(new Set(target.received.map((one) => one.headers['upstash-message-id'])).size).toBe(12)
    qstash.setFaults({ drop: 2 })
    for (const n of [1, 2, 3]) await client.publish({ url, body: `drop ${n}` })
    await target.count(25)
    await sleep(30)
    expect(target.received.slice(24).map((one) => one.body)).toEqual(['drop 3'])
  })

  test('what was accepted survives a restart, also what was on the wire', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'qstash-'))
    closers.unshift(() => rm(folder, { recursive: true, force: true }))
    const persistTo = join(folder, 'deep', 'qstash.json')
    await start({ persistTo })
    target.answer = () => ({ afterMs: 5000 })
    const ids: string[] = []
    ids.push(
      (await client.publish({ url: `${url}?wire`, body: Buffer.from([0xff, 0x00]).toString('latin1') }))
        .messageId,
    )
    await target.count(1)
    ids.push((await client.publish({ url: `${url}?later`, delay: 30, deduplicationId: 'd' })).messageId)
    // Nothing but the file is needed: what was answered is in it.
    const snapshot = await readFile(persistTo, 'utf8')
    await qstash.close()
    await writeFile(persistTo, snapshot)
    target.answer = () => ({})
    await start({ persistTo })
    expect((await client.publish({ url: `${url}?later`, delay: 30, deduplicationId: 'd' })).messageId).toBe(
      ids[1],
    )
    await idle()
    expect(target.received.slice(1).map((one) => [one.path, one.headers['upstash-message-id']])).toEqual([
      ['/in?wire', ids[0]],
      ['/in?later', ids[1]],
    ])
    await qstash.close()
    await start({ persistTo })
    expect(qstash.stats().pending).toBe(0)
  })

  test('a file that is no snapshot is named, not overwritten', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'qstash-'))
    closers.unshift(() => rm(folder, { recursive: true, force: true }))
    const persistTo = join(folder, 'qstash.json')
    await writeFile(persistTo, '{"version":1')
    expect(() => createQStash({ token, ...keys, persistTo })).toThrow(persistTo)
    expect(await readFile(persistTo, 'utf8')).toBe('{"version":1')
  })

  test('publishing to a disk that cannot be written is refused', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'qstash-'))
    closers.unshift(() => rm(folder, { recursive: true, force: true }))
    const persistTo = join(folder, 'below', 'qstash.json')
    await start({ persistTo })
    await client.publish({ url, delay: 5000 })
    await rm(join(folder, 'below'), { recursive: true })
    await writeFile(join(folder, 'below'), 'in the way')
    expect(await api(`/v2/publish/${url}`, { method: 'POST' })).toEqual({
      status: 500,
      json: { error: 'internal error' },
    })
  })

  test('works without a socket: mounted with mount(), called as a function', async () => {
    await start()
    const answer = await qstash.fetch(
      new Request(`http://local.test/v2/publish/${url}?x=//y`, {
        method: 'POST',
        body: 'x',
        headers: { authorization: `Bearer ${token}` },
      }),
    )
    expect(answer.status).toBe(200)
    const [one] = await target.count(1)
    expect(one?.path).toBe('/in?x=//y')
  })
})
