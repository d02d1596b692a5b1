import { createIdentity } from '../../shared/adapters/jose/identity.ts'
import { createLog } from '../../shared/adapters/pino/log.ts'
import { createFrontStore } from '../../shared/adapters/supabase/front-store.ts'
import { createCache } from '../../shared/adapters/upstash/cache.ts'
import type { LogsConfig } from '../../shared/config/read-config.ts'
import { lazy } from '../../shared/core/lazy.ts'
import type { Service } from '../../shared/http/service.ts'
import { Connections } from './connections.ts'
import { logsApp } from './routes.ts'

/** Wires the logs function: a run's log by pages and as streams. */
export async function createLogs(config: LogsConfig): Promise<Service> {
  const log = createLog({ service: 'logs', level: config.logLevel, version: config.version })
  const supabase = {
    url: config.supabaseUrl,
    anonKey: config.supabaseAnonKey,
    roleToken: config.supabaseRoleToken,
    timeoutMs: config.storeTimeoutSeconds * 1000,
  }
  const connections = new Connections()
  const app = logsApp(config, {
    log,
    identity: createIdentity(config.issuers),
    store: createFrontStore(supabase),
    cache: createCache({ url: config.redisUrl, token: config.redisToken, log }),
    artifacts: lazy(async () =>
      (await import('../../shared/adapters/supabase/storage.ts')).createArtifacts(supabase),
    ),
    connections,
  })
  return {
    app,
    log,
    drain: () => connections.drain(),
    async close() {},
  }
}
