import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { createQStash, type QStashOptions } from '../../../dev/qstash/qstash.ts'
import { type Received, serveApp, sleep, startTarget } from '../../../dev/qstash/testing/serve.ts'
import { AppError } from '../../core/errors.ts'
import { schedulerSuite } from '../../ports/scheduler.suite.ts'
import { createScheduler, type SchedulerOptions } from './scheduler.ts'
import { createSignatureVerifier } from './signature.ts'

const keys = { currentKey: 'sig_current', nextKey: 'sig_next' }
const token = 'scheduler-token'

async function start(given: Partial<SchedulerOptions> = {}, stand: Partial<QStashOptions> = {}) {
  const target = await startTarget()
  const qstash = createQStash({ token, ...keys, timeScale: 0.01, ...stand })
  const served = await serveApp(qstash.app, '/qstash')
  const destination = `${target.url}/agent/step?a=1`
  const scheduler = createScheduler({
    url: served.url,
    token,
    destination,
    retries: 2,
    retryDelayExpression: 'min(2000, 1000 * pow(2, retried))',
    timeoutSeconds: 290,
    ...given,
  })
  const close = async () => {
    await qstash.close()
    await served.close()
    await target.close()
  }
  return { target, qstash, served, destination, scheduler, close }
}

const publication = (given = {}) => ({
  run_id: randomUUID(),
  step_number: 0,
  epoch: 0,
  publication: 0,
  delay_seconds: 0,
  ...given,
})

schedulerSuite('qstash', async () => {
  const { target, qstash, served, scheduler, close } = await start()
  return {
    scheduler,
    async arrived(count) {
      await target.count(count)
      await sleep(20)
      return target.received.map((one) => JSON.parse(one.body) as unknown)
    },
    async breakDown() {
      await served.close()
    },
    async close() {
      await qstash.close()
      await close()
    },
  }
})

describe('qstash scheduler', () => {
  const closers: (() => Promise<void>)[] = []
  afterEach(async () => {
    vi.restoreAllMocks()
    vi.unstubAllEnvs()
    for (const close of closers.splice(0)) await close()
  })
  const begin = async (...args: Parameters<typeof start>) => {
    const all = await start(...args)
    closers.push(all.close)
    return all
  }

  test('sends the exact body, delay, retries, timeout, label and id, and no telemetry', async () => {
    const seen: { path: string; headers: Received['headers']; body: string }[] = []
    const server = createServer((request, response) => {
      let body = ''
      request.on('data', (chunk: Buffer) => {
        body += chunk.toString()
      })
      request.on('end', () => {
        seen.push({ path: request.url ?? '', headers: request.headers, body })
        const many = request.url?.endsWith('/batch')
        response.end(
          JSON.stringify(
            many ? [{ messageId: 'a' }, { messageId: 'b', deduplicated: true }] : { messageId: 'a' },
          ),
        )
      })
    })
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve)
    })
    closers.push(async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    })
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/base/`
    const scheduler = createScheduler({
      url,
      token,
      destination: 'https://example.test/agent/step',
      retries: 5,
      retryDelayExpression: 'min(30000, 500 * pow(2, retried))',
      timeoutSeconds: 290,
      failureCallback: 'https://example.test/agent/step/failed',
    })
    const one = publication({ step_number: 4, epoch: 2, publication: 3, delay_seconds: 1.2 })
    await scheduler.publish([one])
    expect(seen[0]?.path).toBe('/base/v2/publish/https://example.test/agent/step')
    expect(seen[0]?.body).toBe(`{"run_id":"${one.run_id}","step_number":4}`)
    expect(seen[0]?.headers).toMatchObject({
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      'upstash-method': 'POST',
      'upstash-deduplication-id': `${one.run_id}_4_2_3`,
      'upstash-label': one.run_id,
      'upstash-retries': '5',
      'upstash-retry-delay': 'min(30000, 500 * pow(2, retried))',
      'upstash-timeout': '290s',
      'upstash-delay': '2s',
      'upstash-failure-callback': 'https://example.test/agent/step/failed',
    })
    await scheduler.publish([publication(), publication()])
    expect(seen[1]?.path).toBe('/base/v2/batch')
    const items = JSON.parse(seen[1]?.body ?? '') as { headers: Record<string, string> }[]
    for (const headers of [seen[0]?.headers, ...items.map((item) => item.headers)]) {
      expect(Object.keys(headers ?? {}).filter((name) => name.includes('telemetry'))).toEqual([])
    }
    expect(items[0]?.headers['upstash-delay']).toBeUndefined()
  })

  test('delays by what the publication says', async () => {
    const { scheduler, target } = await begin()
    const started = Date.now()
    await scheduler.publish([publication({ delay_seconds: 10 })])
    const [one] = await target.count(1)
    expect((one?.atMs ?? 0) - started).toBeGreaterThanOrEqual(95)
  })

  test('its deliveries verify, with retries that follow the expression', async () => {
    const { scheduler, target, destination } = await begin()
    target.answer = (_request, index) => (index < 2 ? { status: 503 } : {})
    await scheduler.publish([publication()])
    const received = await target.count(3)
    const verifier = createSignatureVerifier(keys)
    for (const { headers, body } of received) {
      const signature = String(headers['upstash-signature'])
      expect(await verifier.verify({ signature, rawBody: body, url: destination })).toBe(true)
    }
    expect(received.map((one) => one.headers['upstash-retried'])).toEqual(['0', '1', '2'])
    expect((received[1]?.atMs ?? 0) - (received[0]?.atMs ?? 0)).toBeGreaterThanOrEqual(9)
    expect((received[2]?.atMs ?? 0) - (received[1]?.atMs ?? 0)).toBeGreaterThanOrEqual(19)
  })

  test('QSTASH_DEV and QSTASH_REGION in the environment change nothing', async () => {
    vi.stubEnv('QSTASH_DEV', 'true')
    vi.stubEnv('QSTASH_REGION', 'US_EAST_1')
    vi.stubEnv('US_EAST_1_QSTASH_URL', 'http://127.0.0.1:1')
    vi.stubEnv('US_EAST_1_QSTASH_TOKEN', 'other')
    const { scheduler, target } = await begin()
    await scheduler.publish([publication()])
    expect((await target.count(1)).length).toBe(1)
  })

  test.each([
    [401, {}, undefined],
    [412, {}, undefined],
    [429, { 'retry-after': '7' }, 7],
    [429, { 'ratelimit-limit': '1000', 'ratelimit-reset': '4102444800' }, undefined],
    [500, {}, undefined],
    [302, { location: 'http://127.0.0.1:1/' }, undefined],
  ])(
    'answer %i is unavailable, tried once, and nothing is printed',
    async (status, headers, retryAfterSeconds) => {
      const printed = (['log', 'warn', 'error'] as const).map((name) =>
        vi.spyOn(console, name).mockImplementation(() => {}),
      )
      const fake = await startTarget()
      closers.push(fake.close)
      fake.answer = () => ({ status, headers, body: '{"error":"secret detail"}' })
      const { scheduler } = await begin({ url: fake.url })
      const error = await scheduler.publish([publication()]).catch((reason: unknown) => reason)
      expect(error).toBeInstanceOf(AppError)
      expect(error).toMatchObject({
        code: 'unavailable',
        retryAfterSeconds,
        message: 'The scheduler did not accept the message.',
      })
      expect(fake.received.length).toBe(1)
      for (const spy of printed) expect(spy).not.toHaveBeenCalled()
    },
  )

  test.each([
    ['{}'],
    ['not json'],
    ['[{"messageId":"a"}]'],
    ['[{"messageId":"a"},{"error":"no"}]'],
    ['null'],
  ])('answer %s to two messages is not an acceptance', async (body) => {
    const fake = await startTarget()
    closers.push(fake.close)
    fake.answer = () => ({ body })
    const { scheduler } = await begin({ url: fake.url })
    await expect(scheduler.publish([publication(), publication()])).rejects.toMatchObject({
      code: 'unavailable',
    })
  })

  test('a silent scheduler costs its timeout', async () => {
    const fake = await startTarget()
    closers.push(fake.close)
    fake.answer = () => ({ afterMs: 20_000 })
    const { scheduler } = await begin({ url: fake.url, publishTimeoutMs: 60 })
    await expect(scheduler.publish([publication()])).rejects.toMatchObject({ code: 'unavailable' })
  })
})
