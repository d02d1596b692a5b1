import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { followRun, type RunEvent } from './follow-run.ts'

const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0)) close()
})

type Reply = (req: IncomingMessage, res: ServerResponse) => void
const frame = (id: number | undefined, event: string, data: object) =>
  `${id === undefined ? '' : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify({ type: event, ...data })}\n\n`
const open = (res: ServerResponse) => res.writeHead(200, { 'content-type': 'text/event-stream' })
/** Sent before the connection is cut; a destroyed socket may lose what was just written. */
const cut = (res: ServerResponse) => setTimeout(() => res.destroy(), 30)

/** A logs function that gives one reply a connection, in order, and a status function that answers `run`. */
async function follow(
  run: () => object,
  replies: Reply[],
): Promise<{ events: RunEvent[]; asked: (string | undefined)[] }> {
  const asked: (string | undefined)[] = []
  const server = createServer((req, res) => {
    if (req.url === '/agent/status') {
      res.end(JSON.stringify({ run: run() }))
      return
    }
    asked.push(req.headers['last-event-id'] as string | undefined)
    expect([req.url, req.headers.authorization]).toEqual(['/agent/run/r1/stream?resume=true', 'Bearer t'])
    const reply = replies.shift()
    if (reply) reply(req, res)
    else res.writeHead(500).end()
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  closers.push(() => {
    server.closeAllConnections()
    server.close()
  })
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const signal = AbortSignal.timeout(10_000)
  const events = await Array.fromAsync(followRun({ origin, token: async () => 't', signal }, 'r1'))
  return { events, asked }
}

test('goes on from the last id when the stream is cut, refused or ends early, and shows every event once', async () => {
  const { events, asked } = await follow(
    () => ({ status: 'executing' }),
    [
      (_, res) => {
        open(res).write(frame(1, 'status', { status: 'planning' }))
        cut(res)
      },
      (_, res) => res.writeHead(502).end(),
      (req) => req.socket.destroy(),
      (_, res) =>
        open(res).end(frame(2, 'step', { step: {} }) + frame(undefined, 'message_delta', { content: 'a' })),
      (_, res) => open(res).end(frame(3, 'complete', { status: 'completed' })),
    ],
  )
  expect(events.map(({ event }) => event)).toEqual(['status', 'step', 'message_delta', 'complete', 'run'])
  expect(asked).toEqual([undefined, '1', '1', '1', '2'])
})

test('adds the plan once it is there, and again only when it changed', async () => {
  let version = 1
  const { events } = await follow(
    () => ({ status: 'executing', plan: { goal: `goal ${version}` }, plan_version: version }),
    [
      (_, res) => {
        open(res).write(
          frame(1, 'status', { status: 'executing' }) + frame(2, 'status', { status: 'executing' }),
        )
        setTimeout(() => {
          version = 2
          const step = { status: 'completed', tool_name: 'replan' }
          res.end(frame(3, 'step', { step }) + frame(4, 'complete', { status: 'completed' }))
        }, 100)
      },
    ],
  )
  expect(events.map(({ event, data }) => (event === 'plan' ? data.plan : event))).toEqual([
    'status',
    { goal: 'goal 1' },
    'status',
    'step',
    { goal: 'goal 2' },
    'complete',
    'run',
  ])
})

test('an error event ends it only when it says a final status', async () => {
  const { events } = await follow(
    () => ({ status: 'failed' }),
    [
      (_, res) => open(res).end(frame(undefined, 'error', { message: 'database away', code: 'unavailable' })),
      (_, res) => open(res).end(frame(9, 'error', { message: 'no credit', status: 'failed' })),
    ],
  )
  expect(events.map(({ event }) => event)).toEqual(['error', 'error', 'run'])
})

test('a stream that has nothing more to say of a finished run ends it by status', async () => {
  const { events } = await follow(
    () => ({ status: 'completed', id: 'r1' }),
    [(_, res) => res.writeHead(204).end()],
  )
  expect(events).toEqual([{ event: 'run', data: { run: { status: 'completed', id: 'r1' } } }])
})

test('a run that is not there is refused, not waited for', async () => {
  await expect(follow(() => ({}), [(_, res) => res.writeHead(404).end('{}')])).rejects.toThrow(/refused/)
})
