import { afterAll, beforeAll, expect, test } from 'vitest'
import { createRun, type User } from '../system/kit.ts'
import { followDoor } from './door-calls.ts'
import { figure, median } from './figure.ts'
import { install } from './installation.ts'
import { untilEnded } from './live-runs.ts'
import { commandsPrompt } from './model.ts'
import { readStream } from './read-stream.ts'
import { newUser } from './user.ts'

/** Output of a tool while it runs: soon where somebody looks, rarely where nobody does. */
let user: User
let door: Awaited<ReturnType<typeof followDoor>>

beforeAll(async () => {
  await install()
  user = await newUser('output')
  door = await followDoor()
}, 600_000)
afterAll(() => door?.stop())

const CLOCK = (lines: number) => `for i in $(seq ${lines}); do date +%s%3N; sleep 1; done`
const outputCalls = (runId: string) => door.of(runId).filter(({ path }) => path.endsWith('/output'))

test('a watched run shows a line within a second of its being written', async () => {
  const runId = await createRun(user, { prompt: commandsPrompt([CLOCK(25)]) })
  const arrived = new Map<number, number>()
  let rest = ''
  await readStream(user, runId, {
    signal: AbortSignal.timeout(150_000),
    onEvent(name, data) {
      if (name !== 'terminal') return
      const lines = (rest + (JSON.parse(data) as { content: string }).content).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) if (!arrived.has(Number(line))) arrived.set(Number(line), Date.now())
    },
  })
  expect(arrived.size).toBe(25)
  // the first lines may have waited for a door that started from zero
  const delays = [...arrived].map(([written, at]) => at - written).slice(3)
  figure('output of a watched tool', {
    lines: delays.length,
    'median, ms': median(delays),
    'worst, ms': Math.max(...delays),
    'calls of output': outputCalls(runId).length,
  })
  expect(median(delays)).toBeLessThan(1000)
  expect(delays.filter((delay) => delay > 1000).length).toBeLessThan(3)
}, 240_000)

test('an unwatched run sends its output every 30 s and at its end', async () => {
  const runId = await createRun(user, { prompt: commandsPrompt([CLOCK(40)]) })
  const [end] = await untilEnded([runId], 150_000)
  expect(end?.status).toBe('completed')
  await expect.poll(() => door.of(runId).some(({ path }) => path.endsWith('/result'))).toBe(true)
  const calls = door.of(runId).map(({ path, time, duration_ms }) => ({
    what: path.split('/').at(-1) ?? '',
    at: Date.parse(time) - duration_ms,
  }))
  const started = calls.find(({ what }) => what === 'start')?.at ?? Number.NaN
  const sent = calls.filter(({ what }) => what === 'output').map(({ at }) => (at - started) / 1000)
  figure('output of an unwatched tool of 40 s', {
    calls: calls.length,
    'sent after, s': sent.map((seconds) => seconds.toFixed(1)).join(' '),
  })
  expect(sent[0]).toBeGreaterThan(28)
  // what is written while the door wakes up goes along at once; the rest goes at the end
  expect(sent.filter((seconds) => seconds > 34 && seconds < 39)).toEqual([])
  expect(sent.length).toBeLessThan(5)
}, 240_000)
