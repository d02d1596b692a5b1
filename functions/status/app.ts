import { createIdentity } from '../../shared/adapters/jose/identity.ts'
import { createLog } from '../../shared/adapters/pino/log.ts'
import type { SupabaseOptions } from '../../shared/adapters/supabase/rpc.ts'
import type { StatusConfig } from '../../shared/config/read-config.ts'
import { lazy } from '../../shared/core/lazy.ts'
import type { Service } from '../../shared/http/service.ts'
import type { FrontStore } from '../../shared/ports/store.ts'
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
  const { store, closeStore } = await openStore(config, supabase)
  const app = statusApp(config, {
    log,
    identity: createIdentity(config.issuers),
    store,
    artifacts: lazy(async () =>
      (await import('../../shared/adapters/supabase/storage.ts')).createArtifacts(supabase),
    ),
  })
  return { app, log, close: closeStore }
}

/** Only the chosen adapter is loaded. */
async function openStore(
  config: StatusConfig,
  supabase: SupabaseOptions,
): Promise<{ store: FrontStore; closeStore: () => Promise<void> }> {
  if (config.store === 'supabase') {
    const { createFrontStore } = await import('../../shared/adapters/supabase/front-store.ts')
    return { store: createFrontStore(supabase), async closeStore() {} }
  }
  const { createFrontStore } = await import('../../shared/adapters/postgres/front-store.ts')
  const store = createFrontStore({
    url: config.databaseUrl,
    timeoutMs: supabase.timeoutMs,
    applicationName: 'agent-status',
  })
  return { store, closeStore: () => store.close() }
}
