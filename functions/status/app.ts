import { createIdentity } from '../../shared/adapters/jose/identity.ts'
import { createLog } from '../../shared/adapters/pino/log.ts'
import { createFrontStore } from '../../shared/adapters/supabase/front-store.ts'
import type { StatusConfig } from '../../shared/config/read-config.ts'
import { lazy } from '../../shared/core/lazy.ts'
import type { Service } from '../../shared/http/service.ts'
import { statusApp } from './routes.ts'

/** Wires the status function: how a run stands. */
export async function createStatus(config: StatusConfig): Promise<Service> {
  const log = createLog({ service: 'status', level: config.logLevel, version: config.version })
  const supabase = {
    url: config.supabaseUrl,
    anonKey: config.supabaseAnonKey,
    roleToken: config.supabaseRoleToken,
    timeoutMs: config.storeTimeoutSeconds * 1000,
  }
  const app = statusApp(config, {
    log,
    identity: createIdentity(config.issuers),
    store: createFrontStore(supabase),
    artifacts: lazy(async () =>
      (await import('../../shared/adapters/supabase/storage.ts')).createArtifacts(supabase),
    ),
  })
  return { app, log, async close() {} }
}
