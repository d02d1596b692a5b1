import type { Handler } from 'hono'
import { rateLimits } from '../../shared/config/rate-limits.ts'
import type { LogsConfig } from '../../shared/config/read-config.ts'
import { runIdOf } from '../../shared/contract/input.ts'
import { parseLogs } from '../../shared/contract/logs.ts'
import { showLog } from '../../shared/contract/present.ts'
import { issueTicket, TICKET_FIRST_USE_SECONDS } from '../../shared/engine/issue-ticket.ts'
import { readLogs } from '../../shared/engine/read-logs.ts'
import { requireCaller } from '../../shared/http/auth.ts'
import { readJson } from '../../shared/http/body.ts'
import { createApp } from '../../shared/http/create-app.ts'
import type { App, AppEnv } from '../../shared/http/env.ts'
import { limitRate } from '../../shared/http/limit-rate.ts'
import { RateLimiter } from '../../shared/http/rate-limiter.ts'
import { route, servicePaths } from '../../shared/http/route.ts'
import type { LogsPorts } from './ports.ts'
import { streamHandler } from './stream-handler.ts'

const PATHS = ['/agent/logs', '/functions/v1/agent-logs', '/functions/v1/agent-logs-phase2']
const STREAM_PATHS = ['/agent/run/:run_id/stream', '/agent/stream/:run_id']

export function logsApp(config: LogsConfig, ports: LogsPorts): App {
  const { log, identity, store } = ports
  const app = createApp({
    service: 'logs',
    version: config.version,
    log,
    allowedOrigins: config.allowedOrigins,
    publicBaseUrl: config.publicBaseUrl,
    ready: () => store.ready(),
  })
  const auth = requireCaller(identity)
  const limiter = new RateLimiter(ports.cache, rateLimits(config))
  const read = limitRate(limiter, 'read')
  const stream = streamHandler(config, ports, limiter)

  const polling: Handler<AppEnv> = async (context) => {
    const request = parseLogs(context.req.query())
    const page = await readLogs(ports, context.get('caller'), request)
    const last = page.logs.at(-1)
    return context.json({
      success: true,
      logs: page.logs.map(showLog),
      count: page.logs.length,
      has_more: page.has_more,
      // With nothing new the place stays where it was.
      next_cursor: last === undefined ? (context.req.query('since') ?? null) : String(last.seq),
    })
  }

  route(app, servicePaths(config.mounted, PATHS), {
    GET: [
      async (context, next) => {
        if (context.req.query('mode') === 'stream') return stream(context, 'plain', context.req.query())
        return await next()
      },
      auth,
      read,
      polling,
    ],
  })
  const named: Handler<AppEnv> = (context) =>
    stream(context, 'named', { ...context.req.query(), run_id: context.req.param('run_id') })
  route(app, STREAM_PATHS, { GET: [named] }, { head: false })
  route(app, ['/agent/stream-ticket'], {
    POST: [
      auth,
      read,
      async (context) => {
        const body = await readJson(context, { maxBytes: config.maxBodyBytes })
        const ticket = await issueTicket(ports, context.get('caller'), runIdOf(body.run_id, body.task_id))
        return context.json({ success: true, ticket, expires_in: TICKET_FIRST_USE_SECONDS })
      },
    ],
  })
  return app
}
