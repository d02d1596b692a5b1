import { expect, test } from 'vitest'
import type { JobOutputRequest } from '../contract/job.ts'
import { JOB_OUTPUT_BODY_BYTES, jobOutputRequest } from '../contract/job.ts'
import { KeptOutput } from './kept-output.ts'
import { LiveOutput } from './live-output.ts'

test('kept output: everything up to the limit, then head and tail, never half a character', () => {
  for (const size of [1, 3, 7, 4096]) {
    const kept = new KeptOutput(4096)
    const text = 'aé€😀'.repeat(2000)
    const bytes = Buffer.from(text)
    for (let at = 0; at < bytes.length; at += size) kept.add(bytes.subarray(at, at + size))
    const [head = '', gone = '', tail = ''] = kept.text().split(/\n\[… (\d+) bytes left out …\]\n/)
    expect(text.startsWith(head) && text.endsWith(tail)).toBe(true)
    expect(Buffer.byteLength(head) + Buffer.byteLength(tail) + Number(gone)).toBe(bytes.length)
    expect(Buffer.byteLength(head)).toBeGreaterThan(2040)
    expect(Buffer.byteLength(tail)).toBeGreaterThan(2040)
    expect(kept.truncated).toBe(true)
  }
  const exact = new KeptOutput(8)
  exact.add(Buffer.from('12345678'))
  expect([exact.text(), exact.truncated]).toEqual(['12345678', false])
})

function live(options: { watched: boolean; fail?: boolean; cancelled?: boolean }) {
  const calls: JobOutputRequest['chunks'][] = []
  let cancels = 0
  const output = new LiveOutput({
    watched: options.watched,
    watchedEveryMs: 10,
    idleEveryMs: 200,
    onCancel: () => {
      cancels += 1
    },
    send: async (chunks) => {
      jobOutputRequest.parse({ chunks })
      expect(Buffer.byteLength(JSON.stringify({ chunks }))).toBeLessThanOrEqual(JOB_OUTPUT_BODY_BYTES)
      if (options.fail) throw new Error('away')
      calls.push(chunks)
      return { watched: options.watched, cancelled: options.cancelled ?? false }
    },
  })
  return {
    output,
    calls,
    cancels: () => cancels,
    text: () =>
      calls
        .flat()
        .map((chunk) => chunk.content)
        .join(''),
  }
}

test('live output keeps order and splits by bytes of JSON', async () => {
  const { output, text, calls } = live({ watched: true })
  const all = `${'\u0001'.repeat(40_000)}${'😀'.repeat(20_000)}end`
  output.add('stdout', Buffer.from(all))
  await output.end()
  expect(text()).toBe(all)
  expect(calls.length).toBeGreaterThan(3)
})

test('live output: a character cut between two reads arrives whole; NUL does not arrive', async () => {
  const { output, text } = live({ watched: true })
  const bytes = Buffer.from('a😀\0b')
  for (const byte of bytes) output.add('stderr', Buffer.from([byte]))
  await output.end()
  expect(text()).toBe('a😀\uFFFDb')
})

test('live output: a flood is bounded and says what is missing', async () => {
  const { output, text } = live({ watched: false })
  for (let at = 0; at < 1000; at += 1) output.add('stdout', Buffer.from('x'.repeat(10_000)))
  await output.end()
  expect(text().length).toBeLessThan(300_000)
  expect(text()).toMatch(/^\n\[… \d+ characters not shown live …\]\n/)
})

test('live output: soon while watched, rarely otherwise, asks even when silent, outlives a door that is away', async () => {
  const watched = live({ watched: true, cancelled: true })
  const idle = live({ watched: false })
  const away = live({ watched: true, fail: true })
  for (const { output } of [watched, idle, away]) output.add('stdout', Buffer.from('x'))
  await expect.poll(() => watched.calls.length, { interval: 5, timeout: 150 }).toBeGreaterThan(0)
  expect(idle.calls).toEqual([])
  await expect.poll(() => idle.calls.length).toBe(1)
  await expect.poll(() => idle.calls).toContainEqual([])
  expect(watched.cancels()).toBeGreaterThan(0)
  for (const { output } of [watched, idle, away]) await output.end()
})
