import { createLog } from '../../shared/adapters/pino/log.ts'
import type { SupabaseOptions } from '../../shared/adapters/supabase/rpc.ts'
import { createCache } from '../../shared/adapters/upstash/cache.ts'
import type { DoorConfig, StepConfig } from '../../shared/config/read-config.ts'
import { schedulerOptions } from '../../shared/config/scheduler-options.ts'
import { supabaseOptions } from '../../shared/config/supabase-options.ts'
import type { ConfigError } from '../../shared/core/config-error.ts'
import { lazy } from '../../shared/core/lazy.ts'
import type { StepDeps } from '../../shared/engine/step-deps.ts'
import type { Log } from '../../shared/ports/log.ts'
import type { ObjectStore, RetentionStore, StepStore } from '../../shared/ports/store.ts'
import type { StoreOptions } from '../../shared/ports/store-functions.ts'

/** What step and its door have in common: store, storage, live stream, scheduler. */
export interface JobPorts extends Pick<StepDeps, 'cache' | 'scheduler' | 'blobs' | 'artifacts'> {
  store: StepStore & ObjectStore & RetentionStore
  log: Log
  supabase: SupabaseOptions
  refused: Promise<ConfigError>
  close: () => Promise<void>
}

/** SDKs that not every invocation needs are loaded when they are. */
export async function openJobPorts(config: StepConfig | DoorConfig): Promise<JobPorts> {
  const log = createLog({ service: config.target, level: config.logLevel, version: config.version })
  const supabase = supabaseOptions(config)
  const { promise: refused, resolve: refuse } = Promise.withResolvers<ConfigError>()
  const { store, close } = await openStore(config, { ...supabase, refuse })
  // Asked beside the rest of the start; a database that is not there yet is asked again by the first call.
  store.ready().catch(() => {})
  const storage = lazy(() => import('../../shared/adapters/supabase/storage.ts'))
  const blobs = lazy(async () => (await storage()).createBlobs({ ...supabase, timeoutMs: 60_000 }))
  const artifacts = lazy(async () => (await storage()).createArtifacts({ ...supabase, timeoutMs: 60_000 }))
  const scheduler = lazy(async () => {
    const { createScheduler } = await import('../../shared/adapters/qstash/scheduler.ts')
    return createScheduler(schedulerOptions(config))
  })
  return {
    store,
    log,
    supabase,
    refused,
    close,
    cache: createCache({ url: config.redisUrl, token: config.redisToken, log }),
    scheduler: {
      publish: async (publications) => {
        if (publications.length > 0) await (await scheduler()).publish(publications)
      },
    },
    blobs: {
      put: async (...args) => (await blobs()).put(...args),
      get: async (...args) => (await blobs()).get(...args),
    },
    artifacts: {
      publish: async (file) => (await artifacts()).publish(file),
      sign: async (file) => (await artifacts()).sign(file),
    },
  }
}

/** Only the chosen adapter is loaded. */
async function openStore(
  config: StepConfig | DoorConfig,
  supabase: SupabaseOptions & StoreOptions,
): Promise<{ store: JobPorts['store']; close: () => Promise<void> }> {
  if (config.store === 'supabase') {
    const { createStepStore } = await import('../../shared/adapters/supabase/step-store.ts')
    return { store: createStepStore(supabase), async close() {} }
  }
  const { createStepStore } = await import('../../shared/adapters/postgres/step-store.ts')
  const store = createStepStore({
    url: config.databaseUrl,
    timeoutMs: supabase.timeoutMs,
    refuse: supabase.refuse,
    applicationName: `agent-${config.target}`,
  })
  return { store, close: () => store.close() }
}
