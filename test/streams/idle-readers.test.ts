import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Hono } from 'hono'
import { afterEach, expect, it } from 'vitest'
import { serveApp } from '../../dev/qstash/testing/serve.ts'
import { createRedis } from '../../dev/redis/redis.ts'
import type { Measured } from './logs-process.ts'

/** A share of the thousand that one process is to hold, or all of them. */
const IS_FULL = process.env['TEST_FULL'] === '1'
const READERS = IS_FULL ? 1000 : 200
const RUNS = 20
const TOKEN = 'redis-token'
const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

async function ask<T>(child: ChildProcess, message: object | string): Promise<T> {
  const answer = once(child, 'message')
  child.send(message)
  return (await answer)[0] as T
}

interface Reader {
  socket: Socket
  text: string
}

it(`${READERS} idle readers on one logs process are all told, share one subscription a run, and leave nothing open`, async () => {
  const redis = createRedis({ token: TOKEN })
  let subscriptions = 0
  const counted = new Hono()
  counted.use(async (context, next) => {
    if (context.req.path.includes('/subscribe/')) subscriptions += 1
    await next()
  })
  counted.route('/', redis.app)
  const served = await serveApp(counted, '/redis')
  closers.push(async () => {
    redis.close()
    await served.close()
  })
  const child = fork(fileURLToPath(new URL('./logs-process.ts', import.meta.url)), {
    execArgv: ['--expose-gc'],
    env: { PATH: process.env['PATH'], REDIS_URL: served.url, REDIS_TOKEN: TOKEN },
  })
  closers.push(() => child.kill('SIGKILL'))
  const { port, ids } = await ask<{ port: number; ids: string[] }>(child, { runs: RUNS })

  const open = (n: number): Reader => {
    const reader: Reader = { socket: connect(port, '127.0.0.1'), text: '' }
    reader.socket.setEncoding('utf8')
    reader.socket.on('error', () => {})
    reader.socket.on('data', (chunk: string) => {
      reader.text += chunk
    })
    reader.socket.write(
      `GET /agent/run/${ids[n % RUNS]}/stream HTTP/1.1\r\nhost: x\r\nauthorization: Bearer alice\r\n\r\n`,
    )
    closers.push(() => reader.socket.destroy())
    return reader
  }
  const have = (readers: Reader[], text: string) =>
    expect
      .poll(() => readers.filter((reader) => !reader.text.includes(text)).length, { timeout: 60_000 })
      .toBe(0)

  // the first readers bring what is loaded once
  const first = Array.from({ length: RUNS }, (_, n) => open(n))
  await have(first, 'id: 1\n')
  const before = await ask<Measured>(child, 'measure')
  const readers = Array.from({ length: READERS }, (_, n) => open(n))
  await have(readers, 'id: 1\n')
  const opened = await ask<Measured>(child, 'measure')
  expect(opened.streams).toBe(READERS + RUNS)

  // everybody is told of a row at once, and reads it
  await ask(child, 'tell')
  await have(readers, 'id: 2\n')
  const told = await ask<Measured>(child, 'measure')

  // then nothing happens
  await wait(4000)
  const idle = await ask<Measured>(child, 'measure')
  const megabyte = (bytes: number) => (bytes / 1024 / 1024).toFixed(3)
  const heapEach = (idle.heapBytes - before.heapBytes) / READERS
  const rssEach = (idle.rssBytes - before.rssBytes) / READERS
  process.stdout.write(
    `${READERS} idle readers of ${RUNS} runs: ${megabyte(heapEach)} MB of heap and ${megabyte(rssEach)} MB of memory each, ` +
      `${megabyte(idle.rssBytes)} MB in all; ${subscriptions} subscriptions; a row told to all took ${told.reads} reads, 4 s of silence ${idle.reads}\n`,
  )
  expect(subscriptions).toBe(RUNS)
  // Those that heard of the row in one turn of the event loop read together; how many that are is the machine's affair.
  expect(told.reads).toBeLessThanOrEqual(READERS + RUNS)
  if (IS_FULL) {
    expect(heapEach).toBeLessThan(0.15 * 1024 * 1024)
    expect(rssEach).toBeLessThan(0.4 * 1024 * 1024)
    expect(told.reads).toBeLessThan(READERS / 2)
    // two looks each at most (after 2 s, then after 4 s more), and fewer from then on
    expect(idle.reads).toBeLessThanOrEqual(2 * (READERS + RUNS))
  }

  for (const { socket } of [...first, ...readers]) socket.destroy()
  await expect.poll(async () => (await ask<Measured>(child, 'measure')).streams, { timeout: 30_000 }).toBe(0)
  if (!IS_FULL) return
  // what hung on a reader goes with it
  await expect
    .poll(async () => (await ask<Measured>(child, 'measure')).heapBytes - before.heapBytes, {
      timeout: 40_000,
    })
    .toBeLessThan(0.5 * (idle.heapBytes - before.heapBytes))
}, 180_000)
