import { describe, expect, it } from 'vitest'
import { createMemoryCache } from '../adapters/memory/cache.ts'
import type { AppError } from '../core/errors.ts'
import type { RateLimits } from '../core/rate-limits.ts'
import { waitMs } from '../core/sliding-window.ts'
import type { Principal } from '../ports/identity.ts'
import { RateLimiter } from './rate-limiter.ts'

const MINUTE = 60_000
const LIMITS: RateLimits = { perMinute: { create: 5, write: 10, read: 20, stream: 3 }, tenantFactor: 2 }
const user = (sub: string, tenant_id: string | null = null): Principal => ({
  issuer: 'https://p.example.com/auth/v1',
  sub,
  tenant_id,
  user_id_from: 'sub',
})
/** What a limiter tells the cache is told when the current turn is over. */
const settled = () => new Promise((resolve) => setTimeout(resolve, 0))

function world({ up = true } = {}) {
  let ms = 1_800_000_000_000
  const now = () => ms
  const cache = createMemoryCache({ now })
  cache.setAvailable(up)
  return {
    cache,
    process: () => new RateLimiter(cache, LIMITS, now, 0),
    pass: (by: number) => {
      ms += by
    },
  }
}
function refusal(attempt: () => void): AppError | undefined {
  try {
    attempt()
    return undefined
  } catch (error) {
    return error as AppError
  }
}
/** How many of so many attempts are let through. */
function passed(limiter: RateLimiter, who: Principal, attempts: number, kind: 'create' | 'read' = 'create') {
  let count = 0
  for (let n = 0; n < attempts; n++) if (refusal(() => limiter.take(kind, who)) === undefined) count += 1
  return count
}

describe('sliding window', () => {
  it('names the very moment from which one more fits', () => {
    let checked = 0
    for (const limit of [1, 2, 7, 60, 1200])
      for (const previous of [0, 1, limit - 1, limit, 3 * limit])
        for (const current of [0, 1, limit - 1, limit, 2 * limit])
          for (const elapsedMs of [0, 1, 29_999, 59_999]) {
            const at = (later: number) => {
              const sum = elapsedMs + later
              if (sum < MINUTE)
                return waitMs({ previous, current }, { limit, windowMs: MINUTE, elapsedMs: sum })
              if (sum < 2 * MINUTE)
                return waitMs(
                  { previous: current, current: 0 },
                  { limit, windowMs: MINUTE, elapsedMs: sum - MINUTE },
                )
              return 0
            }
            const wait = at(0)
            expect([previous, current, elapsedMs, limit, at(wait)]).toEqual([
              previous,
              current,
              elapsedMs,
              limit,
              0,
            ])
            if (wait > 2) expect(at(wait - 2)).toBeGreaterThan(0)
            checked += 1
          }
    expect(checked).toBe(500)
  })
})

describe('rate limiter', () => {
  it('lets through what is allowed, says when the next fits, and keeps kinds and users apart', async () => {
    const { process, pass } = world()
    const limiter = process()
    expect(passed(limiter, user('a'), 20)).toBe(5)
    expect(refusal(() => limiter.take('create', user('a')))).toMatchObject({
      code: 'rate_limited',
      status: 429,
      message: expect.stringMatching(/^Too many new runs: 5 a minute .* Try again in \d+ s$/),
      retryAfterSeconds: expect.any(Number),
    })
    expect(passed(limiter, user('b'), 20)).toBe(5)
    expect(passed(limiter, user('a'), 50, 'read')).toBe(20)
    const seconds = refusal(() => limiter.take('create', user('a')))?.retryAfterSeconds ?? 0
    pass(seconds * 1000)
    expect(passed(limiter, user('a'), 1)).toBe(1)
    expect(passed(limiter, user('a'), 1)).toBe(0)
  })

  it('counts what other processes let through, within one round trip', async () => {
    const { process } = world()
    const [one, two, three] = [process(), process(), process()]
    expect(passed(one, user('a'), 4)).toBe(4)
    await settled()
    // two has heard nothing yet: its first request goes through and brings the news
    expect(passed(two, user('a'), 1)).toBe(1)
    await settled()
    expect(passed(two, user('a'), 10)).toBe(0)
    // at the worst a process lets one batch through before it hears
    expect(passed(three, user('a'), 10)).toBe(5)
    await settled()
    expect(passed(three, user('a'), 10)).toBe(0)
    await settled()
    expect(passed(one, user('a'), 10)).toBe(1)
  })

  it('a new process hears of the window before', async () => {
    const { process, pass } = world()
    const old = process()
    pass(MINUTE - (1_800_000_000_000 % MINUTE) - 1)
    expect(passed(old, user('a'), 10)).toBe(5)
    await settled()
    pass(2)
    const fresh = process()
    expect(passed(fresh, user('a'), 1)).toBe(1)
    await settled()
    expect(passed(fresh, user('a'), 10)).toBe(0)
  })

  it('a tenant shares its own limit', async () => {
    const { process } = world()
    const limiter = process()
    const through = ['a', 'b', 'c', 'd'].map((sub) => passed(limiter, user(sub, 't'), 10))
    expect(through).toEqual([5, 5, 0, 0])
    expect(refusal(() => limiter.take('create', user('d', 't')))?.message).toContain(
      '10 a minute are allowed for all users of your organisation together',
    )
    expect(passed(limiter, user('d', 'other'), 10)).toBe(5)
  })

  it('with the cache away each process keeps the limit, and tells what it owes when it is back', async () => {
    const { cache, process } = world({ up: false })
    const [one, two] = [process(), process()]
    expect([passed(one, user('a'), 20), passed(two, user('a'), 20)]).toEqual([5, 5])
    await settled()
    cache.setAvailable(true)
    expect(passed(one, user('b'), 1)).toBe(1)
    await settled()
    const third = process()
    passed(third, user('a'), 1)
    await settled()
    expect(passed(third, user('a'), 10)).toBe(0)
  })

  it('over hours lets no more through than the limit, whoever asks how often', async () => {
    const { process, pass } = world()
    const limiter = process()
    let through = 0
    for (let second = 0; second < 7200; second++) {
      through += passed(limiter, user('a'), 3)
      pass(1000)
    }
    expect(through).toBeLessThanOrEqual(5 * 121)
    expect(through).toBeGreaterThan(5 * 90)
  })

  it('does not grow without end', () => {
    const { process, pass } = world({ up: false })
    const limiter = process()
    for (let n = 0; n < 60_000; n++) limiter.take('read', user(`u${n}`))
    expect(limiter.size).toBeLessThanOrEqual(50_000)
    pass(5 * MINUTE)
    for (let n = 0; n < 10; n++) limiter.take('read', user(`v${n}`))
    expect(limiter.size).toBeLessThanOrEqual(10)
  })
})
