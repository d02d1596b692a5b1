import { createIdentity } from '../../shared/adapters/jose/identity.ts'
import { createLog } from '../../shared/adapters/pino/log.ts'
import type { SupabaseOptions } from '../../shared/adapters/supabase/rpc.ts'
import { createCache } from '../../shared/adapters/upstash/cache.ts'
import type { ExecuteConfig } from '../../shared/config/read-config.ts'
import { schedulerOptions } from '../../shared/config/scheduler-options.ts'
import { supabaseOptions } from '../../shared/config/supabase-options.ts'
import type { ConfigError } from '../../shared/core/config-error.ts'
import { lazy } from '../../shared/core/lazy.ts'
import type { Service } from '../../shared/http/service.ts'
import type { FrontStore, VerbStore } from '../../shared/ports/store.ts'
import type { StoreOptions } from '../../shared/ports/store-functions.ts'
import { executeApp } from './routes.ts'

/** Wires the execute function: verbs on runs. */
export async function createExecute(config: ExecuteConfig): Promise<Service> {
  const log = createLog({ service: 'execute', level: config.logLevel, version: config.version })
  const supabase = supabaseOptions(config)
  const { promise: refused, resolve: refuse } = Promise.withResolvers<ConfigError>()
  const { store, closeStore } = await openStore(config, { ...supabase, refuse })
  // Asked beside the rest of the start; a database that is not there yet is asked again by the first call.
  store.ready().catch(() => {})
  const app = executeApp(config, {
    log,
    identity: createIdentity(config.issuers, { warm: true }),
    store,
    cache: createCache({ url: config.redisUrl, token: config.redisToken, log }),
    scheduler: lazy(async () => {
      const { createScheduler } = await import('../../shared/adapters/qstash/scheduler.ts')
      return createScheduler(schedulerOptions(config))
    }),
    blobs: lazy(async () =>
      (await import('../../shared/adapters/supabase/storage.ts')).createBlobs(supabase),
    ),
    attachments: lazy(async () => {
      const { createAttachments } = await import('../../shared/adapters/supabase/storage.ts')
      return createAttachments({ timeoutMs: supabase.timeoutMs })
    }),
  })
  return { app, log, refused, close: closeStore }
}

/** Only the chosen adapter is loaded. */
async function openStore(
  config: ExecuteConfig,
  supabase: SupabaseOptions & StoreOptions,
): Promise<{ store: FrontStore & VerbStore; closeStore: () => Promise<void> }> {
  if (config.store === 'supabase') {
    const { createFrontStore } = await import('../../shared/adapters/supabase/front-store.ts')
    return { store: createFrontStore(supabase), async closeStore() {} }
  }
  const { createFrontStore } = await import('../../shared/adapters/postgres/front-store.ts')
  const store = createFrontStore({
    url: config.databaseUrl,
    timeoutMs: supabase.timeoutMs,
    refuse: supabase.refuse,
    applicationName: 'agent-execute',
  })
  return { store, closeStore: () => store.close() }
}
