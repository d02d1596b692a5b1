import type { MiddlewareHandler } from 'hono'
import type { AppEnv } from './env.ts'

const ALLOW_HEADERS =
  'authorization, apikey, x-client-info, content-type, x-region, last-event-id, idempotency-key, traceparent'
const EXPOSE_HEADERS = 'x-request-id, retry-after'
const ALLOW_METHODS = 'GET, POST, OPTIONS'
/** Chrome forgets a preflight after two hours whatever it is told. */
const MAX_AGE_SECONDS = '7200'

/**
 * CORS as old callers need it: the exact origin and credentials (one old reader asks with them; no cookie is set or read), never
 * `*`. An origin that is not allowed gets no CORS header, so its browser refuses the answer.
 *
 * @param allowed `*` reflects any origin: for the local stack only
 */
export function cors(allowed: '*' | readonly string[]): MiddlewareHandler<AppEnv> {
  return async (context, next) => {
    const origin = context.req.header('origin')
    const trusted = origin !== undefined && (allowed === '*' || allowed.includes(origin))
    if (context.req.method === 'OPTIONS') {
      const headers = new Headers({ vary: 'Origin' })
      if (trusted) {
        allowOrigin(headers, origin)
        headers.set('access-control-allow-methods', ALLOW_METHODS)
        headers.set('access-control-allow-headers', ALLOW_HEADERS)
        headers.set('access-control-max-age', MAX_AGE_SECONDS)
      }
      return new Response(null, { status: 204, headers })
    }
    await next()
    context.res.headers.append('vary', 'Origin')
    if (trusted) {
      allowOrigin(context.res.headers, origin)
      context.res.headers.set('access-control-expose-headers', EXPOSE_HEADERS)
    }
    return undefined
  }
}

function allowOrigin(headers: Headers, origin: string): void {
  headers.set('access-control-allow-origin', origin)
  headers.set('access-control-allow-credentials', 'true')
}
