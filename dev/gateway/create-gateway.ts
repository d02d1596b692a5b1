import { randomUUID } from 'node:crypto'
import { EventEmitter } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { join } from 'node:path'
import { forward } from './forward.ts'
import {
  FunctionPool,
  type FunctionSpec,
  NoTargetError,
  type PoolLimits,
  type ScaleEvent,
} from './function-pool.ts'
import { type LogFile, openLogFile } from './log-file.ts'
import { matchRoute } from './match-route.ts'

export interface GatewayOptions extends Partial<PoolLimits> {
  functions: readonly FunctionSpec[]
  /** Each function's output goes to `<logDir>/<name>.log`. */
  logDir: string
  /** Gets crashes and what the functions log as error or fatal, one line a call. */
  log?: (line: string) => void
}

export interface Gateway {
  /** For node:http's createServer: answers every request, 404 where no route fits. */
  handler(req: IncomingMessage, res: ServerResponse): void
  on(event: 'scale', listener: (event: ScaleEvent) => void): void
  /** Of the processes that live now, by function. */
  pids(): Record<string, number[]>
  /** SIGTERM to all processes, SIGKILL after `graceMs` (default that of the options); resolves when they are gone. */
  close(options?: { graceMs?: number }): Promise<void>
  /** SIGKILL to all processes at once, for the second Ctrl-C. */
  kill(): void
}

const REPEAT_MS = 10_000
/** Processes that are tried for one request when connections are refused. */
const MAX_ATTEMPTS = 3

/**
 * Does for local processes what Knative does for pods: routes by path, starts a function for its first request and holds the request
 * meanwhile, stops it after an idle window.
 */
export function createGateway({
  functions,
  logDir,
  log = () => {},
  holdMs = 30_000,
  queueSize = 500,
  startTimeoutMs = 20_000,
  graceMs = 10_000,
}: GatewayOptions): Gateway {
  const events = new EventEmitter<{ scale: [ScaleEvent] }>()
  const files: LogFile[] = []
  const pools = new Map(
    functions.map((spec) => {
      const file = openLogFile(join(logDir, `${spec.name}.log`))
      files.push(file)
      let last = { trouble: '', at: 0 }
      const pool = new FunctionPool(
        spec,
        { holdMs, queueSize, startTimeoutMs, graceMs },
        {
          log,
          onScale: (event) => events.emit('scale', event),
          onLine: (line, stream) => {
            file.write(`${line}\n`)
            const trouble = troubleIn(line, stream)
            // The same trouble again and again (a database that is away, asked every 10 ms) is one line; the file has them all.
            if (!trouble || (trouble === last.trouble && Date.now() - last.at < REPEAT_MS)) return
            last = { trouble, at: Date.now() }
            log(`${spec.name}: ${trouble}`)
          },
        },
      )
      return [spec.name, pool]
    }),
  )
  const route = matchRoute(functions)

  async function handle(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const path = (req.url ?? '/').split('?', 1)[0] ?? '/'
    const pool = pools.get(route(path) ?? '')
    if (!pool) return refuse(req, res, 404, 'not_found', `No function answers ${path}`)
    for (let attempt = 1; ; attempt++) {
      const lease = await acquire(pool, req, res)
      if (!lease) return
      const outcome = await forward(req, res, lease.target)
      lease.release(outcome === 'done' ? 'served' : outcome === 'refused' ? 'refused' : 'failed')
      if (outcome === 'refused' && attempt < MAX_ATTEMPTS) continue
      if (outcome !== 'unreachable' && outcome !== 'refused') return
      return refuse(req, res, 502, 'unavailable', `${pool.spec.name} died while it had this request`, 1)
    }
  }

  return {
    handler(req, res) {
      handle(req, res).catch((error: unknown) => {
        log(`gateway: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
        res.destroy()
      })
    },
    on: (event, listener) => {
      events.on(event, listener)
    },
    pids: () => Object.fromEntries([...pools].map(([name, pool]) => [name, pool.pids()])),
    async close(options = {}) {
      await Promise.all([...pools.values()].map((pool) => pool.close(options.graceMs ?? graceMs)))
      for (const file of files) file.close()
    },
    kill() {
      for (const pool of pools.values()) pool.kill()
    },
  }
}

/** Undefined: the request was answered (503) or is gone. */
async function acquire(
  pool: FunctionPool,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<Awaited<ReturnType<FunctionPool['acquire']>> | undefined> {
  const gone = new AbortController()
  const onClose = () => gone.abort()
  res.once('close', onClose)
  try {
    const lease = await pool.acquire(gone.signal)
    if (!res.destroyed) return lease
    lease.release('failed')
  } catch (error) {
    const seconds = error instanceof NoTargetError ? error.retryAfterSeconds : 1
    if (!res.destroyed)
      refuse(req, res, 503, 'unavailable', error instanceof Error ? error.message : String(error), seconds)
  } finally {
    res.off('close', onClose)
  }
  return undefined
}

/**
 * The message of a pino line that its user should see: of level error or fatal, or a warning that something failed and is tried again
 * (a model that cannot be reached would else look like a run that does nothing). Any other line on stderr as it is.
 */
function troubleIn(line: string, stream: 'stdout' | 'stderr'): string | undefined {
  if (!line.startsWith('{')) return stream === 'stderr' ? line : undefined
  try {
    const { level, msg, err, attempt } = JSON.parse(line) as {
      level?: unknown
      msg?: unknown
      err?: { message?: unknown }
      attempt?: unknown
    }
    const isRetried = level === 'warn' && err !== undefined && attempt !== undefined
    const isError = typeof level === 'number' ? level >= 50 : ['error', 'fatal'].includes(String(level))
    if (!isError && !isRetried) return undefined
    return [msg, err?.message].filter((part) => typeof part === 'string').join(': ')
  } catch {
    return stream === 'stderr' ? line : undefined
  }
}

/** Readable for a page of any origin, as everything in the local stack is: a browser else shows its reader no reason. */
function refuse(
  req: IncomingMessage,
  res: ServerResponse,
  status: number,
  code: string,
  message: string,
  retryAfterSeconds?: number,
): void {
  if (res.headersSent) {
    res.destroy()
    return
  }
  const requestId = randomUUID()
  const body = { error: message, detail: message, message, code, request_id: requestId, success: false }
  res.writeHead(status, {
    'content-type': 'application/json',
    'x-request-id': requestId,
    ...corsFor(req.headers.origin),
    ...(retryAfterSeconds === undefined ? {} : { 'retry-after': String(retryAfterSeconds) }),
  })
  res.end(JSON.stringify(body))
}

function corsFor(origin: string | undefined): Record<string, string> {
  if (origin === undefined) return { vary: 'Origin' }
  return {
    vary: 'Origin',
    'access-control-allow-origin': origin,
    'access-control-allow-credentials': 'true',
    'access-control-expose-headers': 'x-request-id, retry-after',
  }
}
