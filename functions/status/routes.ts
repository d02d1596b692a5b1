import { rateLimits } from '../../shared/config/rate-limits.ts'
import type { StatusConfig } from '../../shared/config/read-config.ts'
import { showStatus } from '../../shared/contract/show-status.ts'
import { parseStatus } from '../../shared/contract/status.ts'
import { readRun } from '../../shared/engine/read-run.ts'
import { requireCaller } from '../../shared/http/auth.ts'
import { readJson } from '../../shared/http/body.ts'
import { createApp } from '../../shared/http/create-app.ts'
import type { App } from '../../shared/http/env.ts'
import { limitRate } from '../../shared/http/limit-rate.ts'
import { RateLimiter } from '../../shared/http/rate-limiter.ts'
import { route, servicePaths } from '../../shared/http/route.ts'
import type { Artifacts } from '../../shared/ports/blobs.ts'
import type { Cache } from '../../shared/ports/cache.ts'
import type { Identity } from '../../shared/ports/identity.ts'
import type { Log } from '../../shared/ports/log.ts'
import type { FrontStore } from '../../shared/ports/store.ts'

export interface StatusPorts {
  log: Log
  identity: Identity
  store: FrontStore
  cache: Cache
  artifacts: () => Promise<Artifacts>
}

const PATHS = ['/agent/status', '/functions/v1/agent-status', '/functions/v1/agent-status-phase2']

export function statusApp(config: StatusConfig, ports: StatusPorts): App {
  const { log, identity, store } = ports
  const app = createApp({
    service: 'status',
    version: config.version,
    log,
    allowedOrigins: config.allowedOrigins,
    publicBaseUrl: config.publicBaseUrl,
    ready: () => store.ready(),
  })
  route(app, servicePaths(config.mounted, PATHS), {
    POST: [
      requireCaller(identity),
      limitRate(new RateLimiter(ports.cache, rateLimits(config)), 'read'),
      async (context) => {
        const request = parseStatus(await readJson(context, { maxBytes: config.maxBodyBytes }))
        return context.json(showStatus(await readRun(ports, context.get('caller'), request), request))
      },
    ],
  })
  return app
}
