import { connect } from 'node:net'
import { expect, it } from 'vitest'
import { type Env, setup, tell } from '../told-run.ts'

/** All of these cuts take a few seconds; a long run has ten times the bytes. */
const IS_FULL = process.env['TEST_FULL'] === '1'
const AT_ONCE = 12
const ENV = { RATE_STREAMS_PER_MINUTE: '1000000' }

/** An event as an EventSource hands it on: when its empty line has come, not before. */
interface Seen {
  id: string
  text: string
}

/** What has come of an answer: its status, and the stored events that are whole. */
function whatCame(raw: Buffer): { status: number; events: Seen[]; lastId: string } {
  const text = raw.toString('latin1')
  const headEnd = text.indexOf('\r\n\r\n')
  if (headEnd < 0) return { status: 0, events: [], lastId: '' }
  const body = dechunk(text.slice(headEnd + 4))
  const events: Seen[] = []
  let lastId = ''
  for (const block of body.split('\n\n').slice(0, -1)) {
    const id = /^id: (.*)$/m.exec(block)?.[1]
    if (id === undefined) continue
    lastId = id
    events.push({ id, text: block })
  }
  return { status: Number(text.split(' ')[1]), events, lastId }
}

/** The pieces of a chunked body as far as they came, a piece that is not whole included. */
function dechunk(text: string): string {
  let body = ''
  let place = 0
  for (;;) {
    const lineEnd = text.indexOf('\r\n', place)
    if (lineEnd < 0) return body
    const size = Number.parseInt(text.slice(place, lineEnd), 16)
    if (!(size > 0)) return body
    body += text.slice(lineEnd + 2, lineEnd + 2 + size)
    place = lineEnd + 2 + size + 2
  }
}

/** Bytes of an answer, until it ends or so many have come: then the connection is destroyed. */
function ask(env: Env, path: string, { lastId = '', most = Number.POSITIVE_INFINITY } = {}): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let bytes = 0
    const socket = connect(env.running.port, '127.0.0.1')
    const done = () => resolve(Buffer.concat(chunks).subarray(0, most))
    socket.on('error', reject)
    socket.on('close', done)
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      bytes += chunk.length
      if (bytes < most) return
      socket.destroy()
    })
    const id = lastId === '' ? '' : `last-event-id: ${lastId}\r\n`
    socket.write(
      `GET ${path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer alice\r\nconnection: close\r\n${id}\r\n`,
    )
    if (most === 0) socket.destroy()
  })
}

/** A short run, or one with everything in it. */
function story(env: Env): void {
  if (IS_FULL) {
    tell(env)
    return
  }
  const { store, run_id } = env
  store.addStatus(run_id, 'executing')
  store.addMessage(run_id, 'assistant', 'Größe: 42 ✓', 'thinking')
  store.end(run_id, 'completed', { result: 'é' })
}

it.each([
  ['named', (id: string) => `/agent/run/${id}/stream`],
  ['plain', (id: string) => `/agent/logs?mode=stream&run_id=${id}`],
])(
  'cut at every byte, the %s stream brings each stored event once and in order',
  async (shape, pathOf) => {
    const env = await setup(ENV)
    story(env)
    const path = pathOf(env.run_id)
    const raw = await ask(env, path)
    const whole = whatCame(raw).events
    expect(whole.length).toBeGreaterThan(4)
    const faults: unknown[] = []
    let next = 0
    let cuts = 0
    const cutter = async () => {
      for (let most = next++; most < raw.length; most = next++) {
        const before = whatCame(await ask(env, path, { most }))
        const again = await ask(env, path, { lastId: before.lastId })
        const rest = whatCame(again)
        const isOver = before.lastId === whole.at(-1)?.id
        const events = [...before.events, ...rest.events]
        const isRight =
          rest.status === (isOver ? 204 : 200) &&
          events.length === whole.length &&
          events.every(({ id, text }, n) => id === whole[n]?.id && text === whole[n]?.text)
        if (!isRight) faults.push({ most, status: rest.status, ids: events.map(({ id }) => id) })
        cuts += 1
      }
    }
    const started = performance.now()
    await Promise.all(Array.from({ length: AT_ONCE }, cutter))
    process.stdout.write(
      `${shape} stream: ${cuts} cuts, one at every byte, ${whole.length} stored events, ${Math.round(performance.now() - started)} ms\n`,
    )
    expect(faults).toEqual([])
    expect(cuts).toBe(raw.length)
    // every cut reader has been let go
    await expect.poll(() => env.ports.connections.size).toBe(0)
  },
  120_000,
)

it('cut again and again while the run goes on, a reader gets each stored event once and in order', async () => {
  const env = await setup(ENV)
  const { store, run_id, ports } = env
  const path = `/agent/run/${run_id}/stream`
  const readers = Array.from({ length: IS_FULL ? 40 : 10 }, async (_, reader) => {
    const seen: Seen[] = []
    let cuts = 0
    for (let n = 0; ; n++) {
      // a frame has some hundred bytes: some cuts bring nothing, none of them brings all
      const most = 700 + ((reader * 131 + n * 977) % 2900)
      const came = whatCame(await ask(env, path, { lastId: seen.at(-1)?.id ?? '', most }))
      seen.push(...came.events)
      if (came.status === 204 || /event: complete/.test(seen.at(-1)?.text ?? '')) return { seen, cuts }
      cuts += 1
    }
  })
  const send = (message: object) => ports.cache.publish(`run:${run_id}`, [JSON.stringify(message)])
  for (let n = 0; n < 12; n++) {
    const step = store.addStep(run_id, {})
    store.changeStep(step, { status: 'running' })
    await send({ t: 'rows' })
    await send({ t: 'terminal', step_id: step.id, stream: 'stdout', content: `out ${n}\n` })
    await send({ t: 'message_delta', message_id: `m${n}`, content: 'Th' })
    // with the cache away for a while, polls carry on
    if (n === 4) ports.cache.setAvailable(false)
    if (n === 8) ports.cache.setAvailable(true)
    store.changeStep(step, { status: 'completed', tool_output: { stdout: `out ${n}\n`, stderr: '' } })
    await send({ t: 'rows' })
    await new Promise((resolve) => setTimeout(resolve, 40))
  }
  store.end(run_id, 'completed', {})
  await send({ t: 'rows' })
  const results = await Promise.all(readers)
  const whole = whatCame(await ask(env, path)).events.map(({ id }) => id)
  for (const { seen } of results) {
    const ids = seen.map(({ id }) => id)
    // what a command wrote and was shown as it came has no id, and is not shown again
    expect(ids.filter((id) => !whole.includes(id))).toEqual([])
    expect(new Set(ids).size).toBe(ids.length)
    expect(ids.toSorted((a, b) => orderOf(a) - orderOf(b))).toEqual(ids)
    const rows = (list: string[]) => new Set(list.map((id) => Number.parseInt(id, 10)))
    expect([...rows(ids)]).toEqual([...rows(whole)])
  }
  process.stdout.write(
    `live stream: ${results.reduce((sum, { cuts }) => sum + cuts, 0)} cuts of ${results.length} readers, ${whole.length} stored events\n`,
  )
}, 60_000)

/** `12.1` before `12.2`, and `12` (the last part) after both. */
function orderOf(id: string): number {
  const [row = '', part] = id.split('.')
  return Number(row) * 1000 + (part === undefined ? 999 : Number(part))
}
