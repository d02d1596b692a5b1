import { Hono } from 'hono'
import { AppError } from '../core/errors.ts'
import { accessLog } from './access-log.ts'
import type { AppOptions } from './app-options.ts'
import { cors } from './cors.ts'
import { addDocs } from './docs.ts'
import type { App, AppEnv } from './env.ts'
import { errorResponse } from './errors.ts'
import { addProbes } from './probes.ts'
import { requestIdOf } from './request-id.ts'

/** A year, and for this host only: what else its domain serves is not ours to decide. */
const STRICT_TRANSPORT = 'max-age=31536000'

/**
 * The base of every service: request ids, CORS, security headers, access log, errors, probes, documents. Routes are added with
 * route().
 */
export function createApp(options: AppOptions): App {
  const app = new Hono<AppEnv>({ strict: false })
  const isEncrypted = options.publicBaseUrl.startsWith('https:')

  app.use(async (context, next) => {
    const requestId = requestIdOf(context.req.header('x-request-id'))
    context.set('requestId', requestId)
    context.set('log', options.log.child({ request_id: requestId }))
    await next()
    const { headers } = context.res
    headers.set('x-request-id', requestId)
    headers.set('x-content-type-options', 'nosniff')
    headers.set('referrer-policy', 'no-referrer')
    headers.set('cross-origin-resource-policy', 'cross-origin')
    if (isEncrypted) headers.set('strict-transport-security', STRICT_TRANSPORT)
    if (!headers.has('content-security-policy')) {
      headers.set('content-security-policy', "default-src 'none'; frame-ancestors 'none'")
    }
    if (!headers.has('cache-control')) headers.set('cache-control', 'no-store')
  })
  app.use(accessLog())
  app.use(cors(options.allowedOrigins))
  app.onError((error, context) => errorResponse(context, error, options.errorFields))
  app.notFound((context) =>
    errorResponse(context, new AppError('not_found', 'Not found'), options.errorFields),
  )

  addProbes(app, options)
  addDocs(app, options)
  return app
}
