import type { MiddlewareHandler } from 'hono'
import type { AppEnv } from './env.ts'

/** One line a request, without its query (tokens and tickets travel there); probes are not logged: there is one every few seconds. */
export function accessLog(): MiddlewareHandler<AppEnv> {
  return async (context, next) => {
    const start = performance.now()
    await next()
    const { path, method } = context.req
    if (path.startsWith('/health') || path === '/ready' || method === 'OPTIONS') return
    context
      .get('log')
      .info(
        { method, path, status: context.res.status, duration_ms: Math.round(performance.now() - start) },
        'request',
      )
  }
}
