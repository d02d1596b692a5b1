import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'
import type { ConfigError } from '../core/config-error.ts'
import type { Log } from '../ports/log.ts'
import { answerBrokenRequests } from './broken-requests.ts'
import type { AppEnv } from './env.ts'

/** What listens: the fetch function of a hono app, or of several behind one. */
export interface Served {
  fetch: (request: Request, env: AppEnv['Bindings']) => Response | Promise<Response>
}

export interface ServeOptions {
  port: number
  host: string
  log: Log | undefined
  /** Requests in flight get so long at shutdown; then their connections are cut. */
  shutdownSeconds: number
  /** Called at the start of the shutdown: streams end themselves now. */
  onDrain: () => void
  /** Called when the last request is answered: adapters let go of their connections. */
  onClosed: () => Promise<void>
  /** Other limits than ours, for tests. */
  limits?: Partial<ConnectionLimits>
}

export interface ConnectionLimits {
  keepAliveMs: number
  headersMs: number
  requestMs: number
  checkMs: number
  headerBytes: number
  connections: number
}

export interface Running {
  port: number
  /** Drains and closes. Resolves when nothing is open any more; a second call joins the first. */
  close(): Promise<void>
  /** Resolves when the process has to end at once, with the reason. */
  refused?: Promise<ConfigError>
}

const LIMITS: ConnectionLimits = {
  /** Longer than proxies keep idle connections (queue-proxy 90 s, large load balancers 600 s): they, not we, close first. */
  keepAliveMs: 620_000,
  /** A request's headers must be here in 30 s and all of it in 2 minutes: a slow-loris connection costs no more. */
  headersMs: 30_000,
  requestMs: 120_000,
  checkMs: 5000,
  /** A token has at most 8 KiB; the rest of the headers fits beside it. */
  headerBytes: 16 * 1024,
  /** Twice the streams that one process holds; an idle connection takes about 10 KB. Further ones are closed unanswered. */
  connections: 4096,
}
/** Dropped connections are told to the log at most so often: whoever floods us should not fill the log as well. */
const DROP_LOG_MS = 60_000

export function serve(app: Served, options: ServeOptions): Promise<Running> {
  const limits = { ...LIMITS, ...options.limits }
  const server = createAdaptorServer({
    fetch: (request, env) => app.fetch(request, env as AppEnv['Bindings']),
    serverOptions: {
      keepAliveTimeout: limits.keepAliveMs,
      headersTimeout: limits.headersMs,
      requestTimeout: limits.requestMs,
      maxHeaderSize: limits.headerBytes,
      connectionsCheckingInterval: limits.checkMs,
    },
  }) as Server
  server.maxConnections = limits.connections
  let toldAt = Number.NEGATIVE_INFINITY
  server.on('drop', () => {
    if (performance.now() - toldAt < DROP_LOG_MS) return
    toldAt = performance.now()
    options.log?.warn({ count: limits.connections }, 'too many connections: new ones are closed')
  })
  answerBrokenRequests(server, limits)

  let closing: Promise<void> | undefined
  const close = () => {
    closing ??= shutDown(server, options)
    return closing
  }
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(options.port, options.host, () => {
      server.off('error', reject)
      resolve({ port: (server.address() as AddressInfo).port, close })
    })
  })
}

async function shutDown(
  server: Server,
  { shutdownSeconds, onDrain, onClosed, log }: ServeOptions,
): Promise<void> {
  const closed = new Promise<void>((resolve) => {
    server.close(() => resolve())
  })
  onDrain()
  server.closeIdleConnections()
  const cut = setTimeout(() => {
    log?.warn({ duration_ms: shutdownSeconds * 1000 }, 'requests in flight were cut at shutdown')
    server.closeAllConnections()
  }, shutdownSeconds * 1000)
  // Connections that were busy at the start become idle one by one.
  const sweep = setInterval(() => server.closeIdleConnections(), 100)
  await closed
  clearTimeout(cut)
  clearInterval(sweep)
  await onClosed()
}
