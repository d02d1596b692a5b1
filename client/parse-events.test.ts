import { expect, it } from 'vitest'
import { parseEvents, type ServerEvent } from './parse-events.ts'

async function parsed(chunks: Uint8Array[]): Promise<ServerEvent[]> {
  const rest = [...chunks]
  const read = async () => {
    const value = rest.shift()
    return { done: value === undefined, value }
  }
  return Array.fromAsync(parseEvents(read))
}

const TEXT = [
  '\uFEFFretry: 1000\n\n: a comment\n\n',
  'id: 1.1\nevent: status\ndata: {"a":"ü€😀"}\n\n',
  'data:two\r\ndata:  lines\r\n\r\n',
  'id: 2\rdata\r\r',
  'id: 3\n\nid: bad\0id\ndata: after\nnonsense: x\n\n',
  'retry: soon\ndata: last\n\n',
  'id: 4\ndata: cut off',
].join('')
const EVENTS = [
  { id: undefined, data: '', retry: 1000 },
  { id: '1.1', data: '{"a":"ü€😀"}', retry: undefined },
  { id: '1.1', data: 'two\n lines', retry: undefined },
  { id: '2', data: '', retry: undefined },
  { id: '3', data: 'after', retry: undefined },
  { id: '3', data: 'last', retry: undefined },
]

it('reads the same at every cut into two, and byte by byte', async () => {
  const bytes = new TextEncoder().encode(TEXT)
  for (let at = 0; at <= bytes.length; at += 1)
    expect(await parsed([bytes.subarray(0, at), bytes.subarray(at)])).toEqual(EVENTS)
  expect(await parsed(Array.from(bytes, (byte) => Uint8Array.of(byte)))).toEqual(EVENTS)
})

it('refuses an event without end', async () => {
  const flood = new TextEncoder().encode(`data: ${'x'.repeat(3_000_000)}`)
  await expect(parsed([flood, flood, flood])).rejects.toThrow('too large')
})
