import { Redis } from '@upstash/redis'
import { beforeEach, describe, expect, test } from 'vitest'

const byText = (a: string, b: string) => (a < b ? -1 : 1)

export interface RedisUnderTest {
  url: string
  token: string
}

/** What a Redis behind the REST API has to do, through the vendor's own client: run against ours and against the real server. */
export function redisSuite(name: string, server: () => RedisUnderTest): void {
  describe(name, () => {
    let redis: Redis
    const raw = async (path: string, init: RequestInit = {}) => {
      const { url, token } = server()
      return await fetch(`${url}${path}`, {
        ...init,
        headers: { authorization: `Bearer ${token}`, ...init.headers },
      })
    }
    /** One command with its error's text. */
    const call = async (...args: (string | number)[]): Promise<{ result?: unknown; error?: string }> => {
      const response = await raw('', { method: 'POST', body: JSON.stringify(args) })
      const answer = (await response.json()) as { result?: unknown; error?: string }
      expect(response.status).toBe(answer.error === undefined ? 200 : 400)
      return answer
    }
    const errorOf = async (...args: (string | number)[]) => (await call(...args)).error

    beforeEach(async () => {
      redis = new Redis({ ...server(), enableTelemetry: false, retry: false })
      await redis.flushdb()
    })

    test('strings: conditions, expiry, old values, text of any kind', async () => {
      expect(await redis.set('k', 'v')).toBe('OK')
      expect(await redis.set('k', 'w', { nx: true })).toBeNull()
      expect(await redis.set('k', 'w', { xx: true, get: true })).toBe('v')
      expect(await redis.set('k', 'x', { ex: 100 })).toBe('OK')
      expect(await redis.ttl('k')).toBe(100)
      expect(await redis.set('k', 'y', { keepTtl: true })).toBe('OK')
      expect(await redis.pttl('k')).toBeGreaterThan(99_000)
      expect(await redis.set('k', 'z')).toBe('OK')
      expect(await redis.ttl('k')).toBe(-1)
      expect(await redis.getdel('k')).toBe('z')
      expect(await redis.get('k')).toBeNull()
      for (const text of ['OK', '', 'zwei\nZeilen\r\n', 'über 🙂 ,"\\', 'x'.repeat(70_000)]) {
        await redis.set('text', text)
        expect(await redis.get('text')).toBe(text)
      }
      expect(await redis.set('n', 'v', { px: 30 })).toBe('OK')
      await new Promise((resolve) => setTimeout(resolve, 45))
      expect(await redis.exists('n')).toBe(0)
      expect(await redis.mset({ a: '1x', b: '2x' })).toBe('OK')
      expect(await redis.mget('a', 'nothing', 'b')).toEqual(['1x', null, '2x'])
      expect(await redis.append('a', 'ü')).toBe(4)
      expect(await redis.strlen('a')).toBe(4)
      expect(await redis.getset('a', 'new')).toBe('1xü')
      expect(await redis.setnx('a', 'no')).toBe(0)
      expect(await redis.setex('a', 10, 'yes')).toBe('OK')
      expect(await redis.getex('a', { persist: true })).toBe('yes')
      expect(await redis.ttl('a')).toBe(-1)
    })

    test('numbers: steps, limits of 64 bits, refusals', async () => {
      expect(await redis.incr('n')).toBe(1)
      expect(await redis.incrby('n', 41)).toBe(42)
      expect(await redis.decr('n')).toBe(41)
      expect(await redis.decrby('n', 100)).toBe(-59)
      expect(await redis.incrbyfloat('f', 0.5)).toBe(0.5)
      await redis.set('s', 'word')
      expect(await errorOf('INCR', 's')).toBe('ERR value is not an integer or out of range')
      await call('SET', 'big', '9223372036854775807')
      expect(await errorOf('INCR', 'big')).toBe('ERR increment or decrement would overflow')
      expect(await errorOf('INCRBY', 'n', '1.5')).toBe('ERR value is not an integer or out of range')
      expect(await errorOf('INCRBY', 'n', ' 1')).toBe('ERR value is not an integer or out of range')
    })

    test('keys: expiry, types, patterns, scan', async () => {
      await redis.set('one', 1)
      expect(await redis.expire('one', 60)).toBe(1)
      expect(await redis.ttl('one')).toBe(60)
      expect(await redis.persist('one')).toBe(1)
      expect(await redis.persist('one')).toBe(0)
      expect(await redis.ttl('one')).toBe(-1)
      expect(await redis.ttl('none')).toBe(-2)
      expect(await redis.pexpire('one', 60_000)).toBe(1)
      expect(await redis.expire('one', -1)).toBe(1)
      expect(await redis.exists('one')).toBe(0)
      expect(await redis.expire('none', 5)).toBe(0)
      await Promise.all([
        redis.rpush('l', 1),
        redis.sadd('s', 1),
        redis.hset('h', { a: 1 }),
        redis.zadd('z', { score: 1, member: 'a' }),
      ])
      expect(await redis.type('l')).toBe('list')
      expect(await redis.type('s')).toBe('set')
      expect(await redis.type('h')).toBe('hash')
      expect(await redis.type('z')).toBe('zset')
      expect(await redis.type('nothing')).toBe('none')
      expect((await redis.keys('?')).sort(byText)).toEqual(['h', 'l', 's', 'z'])
      expect((await redis.keys('[hl]')).sort(byText)).toEqual(['h', 'l'])
      expect((await redis.keys('[^hl]')).sort(byText)).toEqual(['s', 'z'])
      expect(await redis.dbsize()).toBe(4)
      expect(await redis.del('h', 'l', 'gone')).toBe(2)
      await redis.mset(Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`scan:${i}`, i])))
      const found = new Set<string>()
      let cursor = '0'
      do {
        const [next, page] = await redis.scan(cursor, { match: 'scan:*', count: 7 })
        cursor = next
        for (const key of page) found.add(key)
      } while (cursor !== '0')
      expect(found.size).toBe(50)
      await redis.set('from', 'v', { ex: 50 })
      expect(await redis.rename('from', 'to')).toBe('OK')
      expect(await redis.ttl('to')).toBe(50)
      expect(await errorOf('RENAME', 'from', 'to')).toBe('ERR no such key')
    })

    test('hashes', async () => {
      expect(await redis.hset('h', { a: 'x', b: 'y' })).toBe(2)
      expect(await redis.hset('h', { a: 'z' })).toBe(0)
      expect(await redis.hget('h', 'a')).toBe('z')
      expect(await redis.hget('h', 'none')).toBeNull()
      expect(await redis.hgetall('h')).toEqual({ a: 'z', b: 'y' })
      expect(await redis.hgetall('none')).toBeNull()
      expect(await redis.hmget('h', 'a', 'none')).toEqual({ a: 'z', none: null })
      expect((await redis.hkeys('h')).sort(byText)).toEqual(['a', 'b'])
      expect(await redis.hlen('h')).toBe(2)
      expect(await redis.hexists('h', 'b')).toBe(1)
      expect(await redis.hsetnx('h', 'b', 'no')).toBe(0)
      expect(await redis.hincrby('h', 'n', 5)).toBe(5)
      expect(await redis.hdel('h', 'a', 'b', 'n')).toBe(3)
      expect(await redis.exists('h')).toBe(0)
      expect(await errorOf('HSET', 'h', 'a')).toBe("ERR wrong number of arguments for 'hset' command")
    })

    test('lists', async () => {
      expect(await redis.rpush('l', 'a', 'b', 'c')).toBe(3)
      expect(await redis.lpush('l', 'y', 'z')).toBe(5)
      expect(await redis.lrange('l', 0, -1)).toEqual(['z', 'y', 'a', 'b', 'c'])
      expect(await redis.lrange('l', -2, 100)).toEqual(['b', 'c'])
      expect(await redis.lrange('l', 3, 1)).toEqual([])
      expect(await redis.lindex('l', -1)).toBe('c')
      expect(await redis.ltrim('l', 1, 3)).toBe('OK')
      expect(await redis.lset('l', 0, 'Y')).toBe('OK')
      expect(await errorOf('LSET', 'l', 9, 'x')).toBe('ERR index out of range')
      expect(await redis.lpop('l')).toBe('Y')
      expect(await redis.rpop('l', 5)).toEqual(['b', 'a'])
      expect(await redis.llen('l')).toBe(0)
      expect(await redis.exists('l')).toBe(0)
      expect(await redis.lpop('l')).toBeNull()
      await redis.rpush('l', 'a', 'b', 'a', 'b', 'a')
      expect(await redis.lrem('l', -2, 'a')).toBe(2)
      expect(await redis.lrange('l', 0, -1)).toEqual(['a', 'b', 'b'])
    })

    test('sets', async () => {
      expect(await redis.sadd('s', 'a', 'b', 'a')).toBe(2)
      expect((await redis.smembers('s')).sort(byText)).toEqual(['a', 'b'])
      expect(await redis.sismember('s', 'a')).toBe(1)
      expect(await redis.smismember('s', ['a', 'q'])).toEqual([1, 0])
      await redis.sadd('t', 'b', 'c')
      expect(await redis.sinter('s', 't')).toEqual(['b'])
      expect(((await redis.sunion('s', 't')) as string[]).sort(byText)).toEqual(['a', 'b', 'c'])
      expect(await redis.sdiff('s', 't')).toEqual(['a'])
      expect(await redis.srem('s', 'a', 'b')).toBe(2)
      expect(await redis.scard('s')).toBe(0)
      expect(await redis.exists('s')).toBe(0)
    })

    test('sorted sets: flags, ranges by index, score and name', async () => {
      const zadd = async (...args: (string | number)[]) => (await call('ZADD', 'z', ...args)).result
      expect(await zadd(1, 'a', 2, 'b', 3, 'c')).toBe(3)
      expect(await zadd('NX', 9, 'a', 4, 'd')).toBe(1)
      expect(await zadd('XX', 'CH', 5, 'd', 5, 'new')).toBe(1)
      expect(await zadd('GT', 'CH', 1, 'd')).toBe(0)
      expect(await zadd('LT', 'CH', 4, 'd')).toBe(1)
      expect((await call('ZADD', 'z', 'INCR', 0.5, 'a')).result).toBe('1.5')
      expect(await redis.zscore('z', 'a')).toBe(1.5)
      expect(await redis.zrange('z', 0, -1)).toEqual(['a', 'b', 'c', 'd'])
      expect(await redis.zrange('z', 0, 1, { rev: true, withScores: true })).toEqual(['d', 4, 'c', 3])
      expect(await redis.zrange('z', 2, '(4', { byScore: true })).toEqual(['b', 'c'])
      expect(await redis.zrange('z', '+inf', 2, { byScore: true, rev: true, offset: 1, count: 1 })).toEqual([
        'c',
      ])
      expect(await redis.zcount('z', '-inf', '(3')).toBe(2)
      expect(await redis.zrank('z', 'b')).toBe(1)
      expect(await redis.zrevrank('z', 'b')).toBe(2)
      expect(await redis.zincrby('z', 10, 'a')).toBe(11.5)
      expect(await redis.zpopmin('z')).toEqual(['b', 2])
      expect(await redis.zremrangebyscore('z', 3, 4)).toBe(2)
      expect(await redis.zcard('z')).toBe(1)
      expect(await redis.zrem('z', 'a')).toBe(1)
      expect(await redis.exists('z')).toBe(0)
      await call('ZADD', 'lex', 0, 'a', 0, 'b', 0, 'c', 0, 'd')
      expect(await redis.zrange('lex', '[b', '(d', { byLex: true })).toEqual(['b', 'c'])
      expect(await redis.zrange('lex', '-', '+', { byLex: true, offset: 1, count: 2 })).toEqual(['b', 'c'])
      expect(await errorOf('ZADD', 'z', 'word', 'a')).toBe('ERR value is not a valid float')
      expect(await errorOf('ZADD', 'z', 'NX', 'XX', 1, 'a')).toMatch(/^ERR XX and NX/)
      expect(await errorOf('ZRANGEBYSCORE', 'z', 'x', 'y')).toBe('ERR min or max is not a float')
    })

    test('streams: ids, ranges, trimming, reading on', async () => {
      const id = async (...args: (string | number)[]) => (await call('XADD', 's', ...args)).result
      expect(await id('5-1', 'n', 1)).toBe('5-1')
      expect(await id('5-*', 'n', 2)).toBe('5-2')
      expect(await id('7', 'n', 3)).toBe('7-0')
      expect(await errorOf('XADD', 's', '7-0', 'n', 4)).toMatch(
        /^ERR The ID specified in XADD is equal or smaller/,
      )
      expect(await errorOf('XADD', 'empty', '0-0', 'n', 4)).toMatch(
        /^ERR The ID specified in XADD must be greater than 0-0/,
      )
      expect(await errorOf('XADD', 's', 'x', 'n', 4)).toMatch(/^ERR Invalid stream ID/)
      expect((await call('XADD', 'none', 'NOMKSTREAM', '*', 'a', 'b')).result).toBeNull()
      expect(await redis.exists('none')).toBe(0)
      const auto = String(await redis.xadd('s', '*', { n: 4 }))
      expect(auto).toMatch(/^\d{13}-\d+$/)
      expect(await redis.xlen('s')).toBe(4)
      expect(Object.keys(await redis.xrange('s', '-', '+'))).toEqual(['5-1', '5-2', '7-0', auto])
      expect(await redis.xrange('s', '5', '5')).toEqual({ '5-1': { n: 1 }, '5-2': { n: 2 } })
      expect(Object.keys(await redis.xrange('s', '(5-1', '+', 1))).toEqual(['5-2'])
      expect(Object.keys(await redis.xrevrange('s', '+', '-', 1))).toEqual([auto])
      expect(await redis.xread('s', '5-2', { count: 1 })).toEqual([['s', [['7-0', ['n', 3]]]]])
      expect(await redis.xread(['s', 'other'], ['7-0', '0'])).toEqual([['s', [[auto, ['n', 4]]]]])
      expect(await redis.xread('s', '$')).toBeNull()
      expect(await redis.xdel('s', '5-2')).toBe(1)
      expect(await redis.xtrim('s', { strategy: 'MAXLEN', exactness: '=', threshold: 2 })).toBe(1)
      expect(await id('MAXLEN', '=', 2, '*', 'n', 5)).toMatch(/-/)
      expect(await redis.xlen('s')).toBe(2)
      expect(await id('MAXLEN', '~', 1000, '*', 'n', 6)).toMatch(/-/)
      expect(await redis.xlen('s')).toBe(3)
      expect(await errorOf('XADD', 's', '*', 'odd')).toBe("ERR wrong number of arguments for 'xadd' command")
    })

    test('errors: wrong type, unknown command, wrong number of arguments, syntax', async () => {
      await redis.set('k', 'v')
      expect(await errorOf('LPUSH', 'k', 'x')).toBe(
        'WRONGTYPE Operation against a key holding the wrong kind of value',
      )
      expect(await errorOf('NONSENSE', 'k')).toMatch(/^ERR unknown command 'NONSENSE'/)
      expect(await errorOf('GET')).toBe("ERR wrong number of arguments for 'get' command")
      expect(await errorOf('GET', 'a', 'b')).toBe("ERR wrong number of arguments for 'get' command")
      expect(await errorOf('SET', 'k', 'v', 'EX')).toBe('ERR syntax error')
      expect(await errorOf('SET', 'k', 'v', 'NX', 'XX')).toBe('ERR syntax error')
      expect(await errorOf('SET', 'k', 'v', 'EX', 0)).toBe("ERR invalid expire time in 'set' command")
      expect(await errorOf('EXPIRE', 'k', 'soon')).toBe('ERR value is not an integer or out of range')
      await expect(redis.incr('k')).rejects.toThrow('ERR value is not an integer')
    })

    test('pipelines: order, an error of one item is its own', async () => {
      const pipeline = redis.pipeline()
      pipeline.set('a', 'word')
      pipeline.incr('a')
      pipeline.get('a')
      pipeline.ping()
      const answers = await pipeline.exec({ keepErrors: true })
      expect(answers.map((answer) => answer.result)).toEqual(['OK', undefined, 'word', 'PONG'])
      expect(answers[1]?.error).toMatch(/^ERR value is not an integer/)
    })

    test('transactions: all in one go, or nothing when one cannot be queued', async () => {
      expect(await redis.multi().set('a', 'x').append('a', 'y').get('a').exec()).toEqual(['OK', 2, 'xy'])
      const response = await raw('/multi-exec', {
        method: 'POST',
        body: JSON.stringify([['SET', 'b', '1'], ['NONSENSE']]),
      })
      expect(response.status).toBe(400)
      expect(((await response.json()) as { error: string }).error).toMatch(/^EXECABORT/)
      expect(await redis.exists('b')).toBe(0)
    })

    test('publish and subscribe', async () => {
      const subscriber = redis.subscribe<string>('room')
      const messages: string[] = []
      const ready = new Promise<void>((resolve) => subscriber.on('subscribe', () => resolve()))
      const both = new Promise<void>((resolve) =>
        subscriber.on('message', ({ message }) => {
          messages.push(message)
          if (messages.length === 2) resolve()
        }),
      )
      await ready
      expect(await redis.publish('room', 'one, with commas')).toBe(1)
      expect(await redis.publish('other', 'x')).toBe(0)
      await redis.publish('room', 'two')
      await both
      expect(messages).toEqual(['one, with commas', 'two'])
      await subscriber.unsubscribe()
    })

    test('subscribe by pattern', async () => {
      const subscriber = redis.psubscribe<{ n: number }>('room:*')
      const ready = new Promise<void>((resolve) => subscriber.on('psubscribe', () => resolve()))
      const got = new Promise((resolve) => subscriber.on('pmessage', resolve))
      await ready
      await redis.publish('room:7', { n: 1 })
      expect(await got).toEqual({ pattern: 'room:*', channel: 'room:7', message: { n: 1 } })
      await subscriber.unsubscribe()
    })

    test('every path asks for the token', async () => {
      for (const path of ['', '/pipeline', '/multi-exec', '/subscribe/x']) {
        for (const authorization of ['', 'Bearer wrong', 'Basic x']) {
          const response = await raw(path, {
            method: 'POST',
            body: '[["GET","a"]]',
            headers: { authorization },
          })
          expect(response.status).toBe(401)
          await response.body?.cancel()
        }
      }
    })
  })
}
