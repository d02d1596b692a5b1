import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Redis } from '@upstash/redis'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { serveApp } from '../../../dev/qstash/testing/serve.ts'
import { createRedis } from '../../../dev/redis/redis.ts'
import { cacheSuite } from '../../ports/cache.suite.ts'
import type { Log } from '../../ports/log.ts'
import { createCache } from './cache.ts'

const token = 'cache-token'

async function start() {
  const redis = createRedis({ token })
  const served = await serveApp(redis.app, '/redis')
  const close = async () => {
    redis.close()
    await served.close()
  }
  return { redis, served, close }
}

cacheSuite('upstash', async () => {
  const { redis, served, close } = await start()
  let open = true
  const shut = async () => {
    if (open) await close()
    open = false
  }
  return {
    cache: createCache({ url: served.url, token, breakerMs: 20 }),
    endSubscriptions: () => Promise.resolve(redis.close()),
    breakDown: shut,
    close: shut,
  }
})

describe('over a server that misbehaves', () => {
  const closers: (() => Promise<void>)[] = []
  afterEach(async () => {
    vi.restoreAllMocks()
    for (const close of closers.splice(0)) await close()
  })

  /** A raw server; counts its requests. */
  const serve = async (handle: (path: string, write: (chunk: string) => void, end: () => void) => void) => {
    const paths: string[] = []
    const server = createServer((request, response) => {
      paths.push(request.url ?? '')
      request.resume()
      handle(
        request.url ?? '',
        (chunk) => void response.write(chunk),
        () => void response.end(),
      )
    })
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve)
    })
    closers.push(async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    })
    return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, paths }
  }
  const read = async (cache: ReturnType<typeof createCache>, onReady?: () => void) => {
    const messages: string[] = []
    const signal = new AbortController().signal
    for await (const message of cache.subscribe('c', { signal, ...(onReady ? { onReady } : {}) }))
      messages.push(message)
    return messages
  }

  test('a silent server costs one short timeout, then nothing while the breaker is open', async () => {
    const { url, paths } = await serve(() => {})
    const warnings: unknown[] = []
    const log = { warn: (fields: unknown) => warnings.push(fields) } as unknown as Log
    const cache = createCache({ url, token, timeoutMs: 60, breakerMs: 3_600_000, log })
    await cache.publish('c', ['secret text'])
    for (let i = 0; i < 100; i += 1) await cache.publish('c', ['x'])
    expect(await cache.hasFlag('f')).toBe(false)
    expect(paths.length).toBe(1)
    // Said once, and without what was sent.
    expect(warnings.length).toBe(1)
    expect(JSON.stringify(warnings)).not.toContain('secret')
  })

  test('when the breaker has been open for its time, the server is asked again', async () => {
    const { url, paths } = await serve(() => {})
    const cache = createCache({ url, token, timeoutMs: 60, breakerMs: 20 })
    await cache.publish('c', ['x'])
    await new Promise((resolve) => setTimeout(resolve, 30))
    await cache.publish('c', ['x'])
    expect(paths.length).toBe(2)
  })

  test('publishes many messages in one round trip, big ones too, and prints nothing', async () => {
    const printed = (['log', 'warn', 'error'] as const).map((name) =>
      vi.spyOn(console, name).mockImplementation(() => {}),
    )
    const { url, paths } = await serve((_path, write, end) => {
      write(JSON.stringify(Array.from({ length: 60 }, () => ({ result: 1 }))))
      end()
    })
    const cache = createCache({ url, token })
    await cache.publish(
      'c',
      Array.from({ length: 60 }, () => 'x'.repeat(10_000)),
    )
    expect(paths).toEqual(['/pipeline'])
    for (const spy of printed) expect(spy).not.toHaveBeenCalled()
  })

  test('a wrong token, nonsense or a cut stream end a subscription quietly', async () => {
    const printed = (['log', 'warn', 'error'] as const).map((name) =>
      vi.spyOn(console, name).mockImplementation(() => {}),
    )
    const { served, close } = await start()
    closers.push(close)
    expect(await read(createCache({ url: served.url, token: 'wrong', breakerMs: 1 }))).toEqual([])
    const nonsense = await serve((_path, write, end) => {
      write(
        '<html>\n\ndata: message,other,"x"\n\ndata: message,c,not json\n\ndata: message,c,{"a":1}\n\ndata: message,c,"good"\n\n',
      )
      end()
    })
    expect(await read(createCache({ url: nonsense.url, token }))).toEqual(['good'])
    const endless = await serve((_path, write) =>
      write(`data: subscribe,c,1\n\ndata: message,c,"${'x'.repeat(1_200_000)}`),
    )
    expect(await read(createCache({ url: endless.url, token }))).toEqual([])
    for (const spy of printed) expect(spy).not.toHaveBeenCalled()
  })

  test('never confirmed, or silent for too long: the subscription ends', async () => {
    const deaf = await serve(() => {})
    expect(await read(createCache({ url: deaf.url, token, connectTimeoutMs: 60 }))).toEqual([])
    const unconfirmed = await serve((_path, write) => write(': hello\n\n'))
    expect(await read(createCache({ url: unconfirmed.url, token, connectTimeoutMs: 60 }))).toEqual([])
    const silent = await serve((_path, write) => write('data: subscribe,c,1\n\n'))
    let ready = 0
    await read(createCache({ url: silent.url, token, idleTimeoutMs: 60 }), () => {
      ready += 1
    })
    expect(ready).toBe(1)
  })

  test('a payload split in the middle of a character arrives whole', async () => {
    const bytes = Buffer.from('data: subscribe,c,1\n\ndata: message,c,"🙂ü"\n\n')
    const server = createServer((request, response) => {
      request.resume()
      void (async () => {
        for (const byte of bytes) {
          response.write(Buffer.of(byte))
          await new Promise((resolve) => setImmediate(resolve))
        }
        response.end()
      })()
    })
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve)
    })
    closers.push(async () => {
      await new Promise((resolve) => server.close(resolve))
    })
    const { port } = server.address() as AddressInfo
    expect(await read(createCache({ url: `http://127.0.0.1:${port}`, token }))).toEqual(['🙂ü'])
  })

  test("a message of somebody else's on the channel is passed over", async () => {
    const { served, close } = await start()
    closers.push(close)
    const cache = createCache({ url: served.url, token })
    const other = new Redis({ url: served.url, token, enableTelemetry: false })
    const stop = new AbortController()
    const got: string[] = []
    for await (const message of cache.subscribe('c', {
      signal: stop.signal,
      onReady: () => void other.publish('c', 'raw text').then(() => cache.publish('c', ['ours'])),
    })) {
      got.push(message)
      stop.abort()
    }
    expect(got).toEqual(['ours'])
  })
})
