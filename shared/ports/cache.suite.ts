import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Cache } from './cache.ts'

export interface CacheUnderTest {
  cache: Cache
  /** Ends every open subscription from the server's side. */
  endSubscriptions(): Promise<void>
  /** Makes the server unreachable. */
  breakDown(): Promise<void>
  close(): Promise<void>
}

/** What every cache has to do. A factory is asked for a fresh one for each test. */
export function cacheSuite(name: string, create: () => Promise<CacheUnderTest>): void {
  describe(`cache port: ${name}`, () => {
    let subject: CacheUnderTest
    let stop: AbortController
    beforeEach(async () => {
      subject = await create()
      stop = new AbortController()
    })
    afterEach(async () => {
      stop.abort()
      await subject.close()
    })

    /** Reads in the background; `ready` resolves with the subscription, `ended` with its end. */
    const follow = (channel: string, signal = stop.signal) => {
      const messages: string[] = []
      let onReady = () => {}
      const ready = new Promise<void>((resolve) => {
        onReady = resolve
      })
      const ended = (async () => {
        for await (const message of subject.cache.subscribe(channel, { signal, onReady }))
          messages.push(message)
      })()
      const has = async (count: number) => {
        for (let i = 0; i < 1000 && messages.length < count; i += 1)
          await new Promise((resolve) => setTimeout(resolve, 3))
        return messages
      }
      return { messages, ready, ended, has }
    }

    test('brings every message in order, whatever is in it', async () => {
      const reader = follow('run:1,a/b?c#d')
      await reader.ready
      const sent = [
        '{"a":1}',
        'line\nbreak\r\n\n',
        '',
        ' ',
        'data: message,x,y',
        'über 🙂',
        '"quoted"',
        'x'.repeat(100_000),
      ]
      await subject.cache.publish('run:1,a/b?c#d', sent)
      await subject.cache.publish('run:1,a/b?c#d', ['last'])
      expect(await reader.has(sent.length + 1)).toEqual([...sent, 'last'])
    })

    test('keeps channels apart, and gives every reader of one everything', async () => {
      const readers = [follow('a'), follow('a'), follow('b')]
      await Promise.all(readers.map((reader) => reader.ready))
      await subject.cache.publish('a', ['1', '2'])
      await subject.cache.publish('b', ['3'])
      expect(await readers[0]?.has(2)).toEqual(['1', '2'])
      expect(await readers[1]?.has(2)).toEqual(['1', '2'])
      expect(await readers[2]?.has(1)).toEqual(['3'])
    })

    test('says nothing of what was sent before', async () => {
      await subject.cache.publish('a', ['early'])
      const reader = follow('a')
      await reader.ready
      await subject.cache.publish('a', ['late'])
      expect(await reader.has(1)).toEqual(['late'])
    })

    test('publishing nothing, or to nobody, is fine', async () => {
      await subject.cache.publish('a', [])
      await subject.cache.publish('nobody', ['x'])
    })

    test('a subscription ends when its signal aborts, also one that was aborted before', async () => {
      const reader = follow('a')
      await reader.ready
      stop.abort()
      await reader.ended
      expect(reader.messages).toEqual([])
      await follow('a', AbortSignal.abort()).ended
    })

    test('a subscription ends when the connection does, and a new one works', async () => {
      const reader = follow('a')
      await reader.ready
      await subject.endSubscriptions()
      await reader.ended
      const again = follow('a')
      await again.ready
      await subject.cache.publish('a', ['x'])
      expect(await again.has(1)).toEqual(['x'])
    })

    test('a reader may stop in the middle', async () => {
      let onReady = () => {}
      const ready = new Promise<void>((resolve) => {
        onReady = resolve
      })
      const first = (async () => {
        for await (const message of subject.cache.subscribe('a', { signal: stop.signal, onReady }))
          return message
        return undefined
      })()
      await ready
      await subject.cache.publish('a', ['1', '2', '3'])
      expect(await first).toBe('1')
    })

    test('flags are there until they expire', async () => {
      expect(await subject.cache.hasFlag('f')).toBe(false)
      await subject.cache.setFlag('f', 60)
      expect(await subject.cache.hasFlag('f')).toBe(true)
      expect(await subject.cache.hasFlag('other')).toBe(false)
      await subject.cache.setFlag('short', 1)
      expect(await subject.cache.hasFlag('short')).toBe(true)
      await new Promise((resolve) => setTimeout(resolve, 1100))
      expect(await subject.cache.hasFlag('short')).toBe(false)
      expect(await subject.cache.hasFlag('f')).toBe(true)
    })

    test('flags are gone when they are forgotten', async () => {
      await subject.cache.setFlag('f', 60)
      await subject.cache.setFlag('kept', 60)
      await subject.cache.forget([])
      await subject.cache.forget(['f', 'never there'])
      expect([await subject.cache.hasFlag('f'), await subject.cache.hasFlag('kept')]).toEqual([false, true])
    })

    test('counts, and answers what it counted', async () => {
      const { cache } = subject
      const add = (name: string, by: number, ttlSeconds = 60) => ({ name, by, ttlSeconds })
      expect(await cache.addCounts([])).toEqual([])
      expect(await cache.addCounts([add('a', 2), add('b', 0), add('a', 3)])).toEqual([2, 0, 5])
      expect(await cache.addCounts([add('b', 0), add('a', 0)])).toEqual([0, 5])
      expect(await cache.addCounts([add('short', 1, 1)])).toEqual([1])
      await new Promise((resolve) => setTimeout(resolve, 1100))
      expect(await cache.addCounts([add('short', 0), add('a', 1)])).toEqual([0, 6])
      const many = await Promise.all(Array.from({ length: 20 }, () => cache.addCounts([add('many', 1)])))
      expect(many.map((values) => values?.[0]).toSorted((a = 0, b = 0) => a - b)).toEqual(
        Array.from({ length: 20 }, (_, n) => n + 1),
      )
    })

    test('knows who is in a set until they leave or their time is over', async () => {
      const { cache } = subject
      expect(await cache.enter('set', 'a', 60)).toBe(1)
      expect(await cache.enter('set', 'b', 1)).toBe(2)
      expect(await cache.enter('set', 'a', 60)).toBe(2)
      expect(await cache.enter('other', 'a', 60)).toBe(1)
      await new Promise((resolve) => setTimeout(resolve, 1100))
      expect(await cache.enter('set', 'c', 60)).toBe(2)
      await cache.leave('set', 'a')
      await cache.leave('set', 'stranger')
      expect(await cache.enter('set', 'c', 60)).toBe(1)
    })

    test('when it is down nothing throws, and subscriptions end', async () => {
      const reader = follow('a')
      await reader.ready
      await subject.cache.setFlag('f', 60)
      await subject.breakDown()
      await reader.ended
      await subject.cache.publish('a', ['x'])
      await subject.cache.setFlag('g', 60)
      expect(await subject.cache.hasFlag('f')).toBe(false)
      await subject.cache.forget(['f'])
      await subject.cache.leave('s', 'm')
      expect(await subject.cache.addCounts([{ name: 'c', by: 1, ttlSeconds: 5 }])).toBeNull()
      expect(await subject.cache.enter('s', 'm', 5)).toBeNull()
      await follow('a').ended
    })
  })
}
