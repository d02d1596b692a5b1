import { expect, test } from 'vitest'
import { cacheSuite } from '../../ports/cache.suite.ts'
import { createMemoryCache } from './cache.ts'

cacheSuite('in memory', async () => {
  const cache = createMemoryCache()
  return {
    cache,
    endSubscriptions: () => Promise.resolve(cache.restart()),
    breakDown: () => Promise.resolve(cache.setAvailable(false)),
    close: () => Promise.resolve(),
  }
})

test('a reader that does not read is let go instead of filling memory', async () => {
  const cache = createMemoryCache()
  const reader = cache.subscribe('a', { signal: new AbortController().signal })[Symbol.asyncIterator]()
  const first = reader.next()
  await cache.publish('a', ['first'])
  expect((await first).value).toBe('first')
  for (let i = 0; i < 11; i += 1)
    await cache.publish(
      'a',
      Array.from({ length: 1000 }, () => 'x'),
    )
  expect((await reader.next()).done).toBe(true)
})
