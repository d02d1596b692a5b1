import { rateLimits } from '../../shared/config/rate-limits.ts'
import type { ExecuteConfig } from '../../shared/config/read-config.ts'
import { makesRuns, parseCommand } from '../../shared/contract/execute.ts'
import { idempotencyOf } from '../../shared/contract/idempotency-key.ts'
import { runIdOf } from '../../shared/contract/input.ts'
import { percentageOf } from '../../shared/contract/present.ts'
import { parseRunsQuery, runsCursor } from '../../shared/contract/runs-query.ts'
import { listRuns } from '../../shared/engine/list-runs.ts'
import { requireCaller } from '../../shared/http/auth.ts'
import { readJson } from '../../shared/http/body.ts'
import { createApp } from '../../shared/http/create-app.ts'
import type { App } from '../../shared/http/env.ts'
import { limitRate } from '../../shared/http/limit-rate.ts'
import { RateLimiter } from '../../shared/http/rate-limiter.ts'
import { route, servicePaths } from '../../shared/http/route.ts'
import { onceMore } from './once-more.ts'
import type { ExecutePorts } from './ports.ts'
import { runCommand } from './run-command.ts'

const PATHS = ['/agent/execute', '/functions/v1/agent-execute', '/functions/v1/agent-execute-phase2']

export function executeApp(config: ExecuteConfig, ports: ExecutePorts): App {
  const { log, identity, store } = ports
  const app = createApp({
    service: 'execute',
    version: config.version,
    log,
    allowedOrigins: config.allowedOrigins,
    publicBaseUrl: config.publicBaseUrl,
    ready: () => store.ready(),
    errorFields: { success: false },
  })
  const auth = requireCaller(identity)
  const limiter = new RateLimiter(ports.cache, rateLimits(config))
  const write = limitRate(limiter, 'write')
  const limits = { maxBytes: config.maxBodyBytes }

  route(app, servicePaths(config.mounted, PATHS), {
    POST: [
      auth,
      write,
      async (context) => {
        const body = await readJson(context, limits)
        const command = parseCommand(body)
        if (makesRuns(command)) limiter.take('create', context.get('caller'))
        const idempotency = idempotencyOf(context.req.header('idempotency-key'), body)
        const { status, answer } = await onceMore(idempotency !== null, () =>
          runCommand(config, ports, context.get('caller'), command, idempotency),
        )
        return context.json(answer, status)
      },
    ],
  })

  route(app, ['/agent/cancel'], {
    POST: [
      auth,
      write,
      async (context) => {
        const body = await readJson(context, limits)
        const command = { action: 'stop' as const, run_id: runIdOf(body.run_id, body.task_id) }
        const { status, answer } = await runCommand(config, ports, context.get('caller'), command, null)
        return context.json(answer, status)
      },
    ],
  })

  route(app, ['/agent/runs'], {
    GET: [
      auth,
      limitRate(limiter, 'read'),
      async (context) => {
        const { runs, has_more } = await listRuns(
          ports,
          context.get('caller'),
          parseRunsQuery(context.req.query()),
        )
        const last = runs.at(-1)
        return context.json({
          success: true,
          runs: runs.map((run) => ({ ...run, progress_percentage: percentageOf(run) })),
          count: runs.length,
          has_more,
          next_cursor: has_more && last !== undefined ? runsCursor(last) : null,
        })
      },
    ],
  })
  return app
}
