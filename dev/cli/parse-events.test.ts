import { expect, test } from 'vitest'
import { parseEvents, type ServerEvent } from './parse-events.ts'

function streamOf(chunks: Uint8Array[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(chunk)
      controller.close()
    },
  })
}

async function parse(...chunks: string[]): Promise<ServerEvent[]> {
  const encoder = new TextEncoder()
  return Array.fromAsync(parseEvents(streamOf(chunks.map((chunk) => encoder.encode(chunk)))))
}

test('fields, comments, several data lines, an id that stays', async () => {
  expect(
    await parse(
      ': hi\n\nid: 7\nevent: step\ndata: {"a":\ndata:  1}\nretry: 5\n\ndata\n\nevent: x\n\ndata:z\n\n',
    ),
  ).toEqual([
    { id: '7', event: 'step', data: '{"a":\n 1}' },
    { id: '7', event: 'message', data: '' },
    { id: '7', event: 'message', data: 'z' },
  ])
})

test('every way of cutting the bytes gives the same events', async () => {
  const text = 'id: 1\r\nevent: é\r\ndata: ü\r\n\r\ndata: b\r\r: end'
  const bytes = new TextEncoder().encode(text)
  const whole = await parse(text)
  expect(whole).toHaveLength(2)
  for (let cut = 1; cut < bytes.length; cut++) {
    const parts = streamOf([bytes.slice(0, cut), bytes.slice(cut)])
    expect(await Array.fromAsync(parseEvents(parts)), `cut at ${cut}`).toEqual(whole)
  }
})

test('an event without its blank line was cut off and is not given', async () => {
  expect(await parse('data: 1\n\ndata: 2\n')).toEqual([{ id: undefined, event: 'message', data: '1' }])
})

test('an endless event is refused', async () => {
  await expect(parse(...Array.from({ length: 9 }, () => `data: ${'x'.repeat(1_000_000)}\n`))).rejects.toThrow(
    /larger/,
  )
})
