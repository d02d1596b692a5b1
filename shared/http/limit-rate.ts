import type { MiddlewareHandler } from 'hono'
import type { RateKind } from '../core/rate-limits.ts'
import type { AppEnv } from './env.ts'
import type { RateLimiter } from './rate-limiter.ts'

/** After requireCaller(): ends the request with 429 when its caller asks too often. */
export function limitRate(limiter: RateLimiter, kind: RateKind): MiddlewareHandler<AppEnv> {
  return async (context, next) => {
    limiter.take(kind, context.get('caller'))
    await next()
  }
}
