import { AppError } from '../core/errors.ts'
import type { AppOptions } from './app-options.ts'
import type { App, AppContext } from './env.ts'
import { route } from './route.ts'

/** A probe every 50 ms (Knative's readiness) must not become a query every 50 ms. */
const READY_CACHE_MS = 3000
/** A process that waits for its first readiness should not wait longer than what it waits for. */
const NOT_READY_CACHE_MS = 250

/** /health and /health/liveness: the process answers. /ready and /health/readiness: it can work. */
export function addProbes(app: App, options: AppOptions): void {
  const { version } = options
  const ready = cached(options.ready)
  const nameFor = (context: AppContext) => serviceName(context, options)

  route(app, ['/health'], {
    GET: [(context) => context.json({ status: 'healthy', version, service: nameFor(context) })],
  })
  route(app, ['/health/liveness'], { GET: [(context) => context.json({ status: 'alive' })] })
  route(app, ['/ready', '/health/readiness'], {
    GET: [
      async (context) => {
        await ready()
        return context.json({ status: 'ready', version, service: nameFor(context) })
      },
    ],
  })
}

/** On the shared host status answers for all four; it knows by the name it is asked under. */
function serviceName(context: AppContext, { service, publicBaseUrl }: AppOptions): string {
  if (service !== 'status') return service
  const host = context.req.header('x-forwarded-host') ?? context.req.header('host')
  return host === new URL(publicBaseUrl).host ? 'agent-api' : service
}

function cached(check: () => Promise<void>): () => Promise<void> {
  let until = 0
  let last: Promise<void> | undefined
  return async () => {
    if (last === undefined || performance.now() >= until) {
      until = performance.now() + READY_CACHE_MS
      last = check().catch((error: unknown) => {
        until = performance.now() + NOT_READY_CACHE_MS
        throw error instanceof AppError ? error : new AppError('unavailable', 'Not ready', { cause: error })
      })
    }
    await last
  }
}
