import { createLog } from '../../shared/adapters/pino/log.ts'
import { createSignatureVerifier } from '../../shared/adapters/qstash/signature.ts'
import type { SupabaseOptions } from '../../shared/adapters/supabase/rpc.ts'
import { createCache } from '../../shared/adapters/upstash/cache.ts'
import type { StepConfig } from '../../shared/config/read-config.ts'
import { schedulerOptions } from '../../shared/config/scheduler-options.ts'
import type { ConfigError } from '../../shared/core/config-error.ts'
import { lazy } from '../../shared/core/lazy.ts'
import type { StepDeps } from '../../shared/engine/step-deps.ts'
import type { Service } from '../../shared/http/service.ts'
import type { ObjectStore, RetentionStore, StepStore } from '../../shared/ports/store.ts'
import type { StoreOptions } from '../../shared/ports/store-functions.ts'
import { stepApp } from './routes.ts'

/** Wires the step function. SDKs that not every invocation needs are loaded when they are. */
export async function createStep(config: StepConfig): Promise<Service> {
  const log = createLog({ service: 'step', level: config.logLevel, version: config.version })
  const supabase = {
    url: config.supabaseUrl,
    anonKey: config.supabaseAnonKey,
    roleToken: config.supabaseRoleToken,
    timeoutMs: config.storeTimeoutSeconds * 1000,
  }
  const { promise: refused, resolve: refuse } = Promise.withResolvers<ConfigError>()
  const { store, closeStore } = await openStore(config, { ...supabase, refuse })
  // Asked beside the rest of the start; a database that is not there yet is asked again by the first call.
  store.ready().catch(() => {})
  const storage = lazy(() => import('../../shared/adapters/supabase/storage.ts'))
  const blobs = lazy(async () => (await storage()).createBlobs({ ...supabase, timeoutMs: 60_000 }))
  const artifacts = lazy(async () => (await storage()).createArtifacts({ ...supabase, timeoutMs: 60_000 }))
  const scheduler = lazy(async () => {
    const { createScheduler } = await import('../../shared/adapters/qstash/scheduler.ts')
    return createScheduler(schedulerOptions(config))
  })
  const model = lazy(async () => {
    const { createModel } = await import('../../shared/adapters/anthropic/model.ts')
    return createModel({
      apiKey: config.anthropicApiKey,
      baseUrl: config.anthropicBaseUrl,
      model: config.model,
    })
  })
  const sandbox = lazy(async () => {
    const { createLocalSandbox } = await import('../../shared/adapters/local/sandbox.ts')
    return createLocalSandbox({ url: config.sandboxUrl, token: config.sandboxToken })
  })
  const days = config.retentionDays
  const deps: StepDeps = {
    store,
    cache: createCache({ url: config.redisUrl, token: config.redisToken, log }),
    scheduler: {
      publish: async (publications) => {
        if (publications.length > 0) await (await scheduler()).publish(publications)
      },
    },
    model: { turn: async (request, options) => (await model()).turn(request, options) },
    sandbox: {
      create: async (job) => (await sandbox()).create(job),
      inspect: async (name) => (await sandbox()).inspect(name),
      remove: async (name) => (await sandbox()).remove(name),
    },
    blobs: {
      put: async (...args) => (await blobs()).put(...args),
      get: async (...args) => (await blobs()).get(...args),
    },
    artifacts: {
      publish: async (file) => (await artifacts()).publish(file),
      sign: async (file) => (await artifacts()).sign(file),
    },
    objects: {
      remove: async (objects) => (await storage()).removeObjects(supabase, objects),
      confirm: (objects) => store.objectsRemoved({ objects }),
    },
    ...(days === null ? {} : { retention: lazy(() => store.setRetention({ days })) }),
    log,
    newId: () => crypto.randomUUID(),
    today: () => new Date().toISOString().slice(0, 10),
    settings: {
      leaseSeconds: config.stepLeaseSeconds,
      burst: { steps: config.stepBurst, ms: config.stepBurstMs },
      parallelCalls: { run: config.runParallelCalls, tenant: config.tenantParallelCalls },
      stepDeadlineSeconds: config.stepDeadlineSeconds,
      approvalTools: new Set(config.approvalTools),
      jobDeadlineSeconds: config.jobDeadlineSeconds,
      maxTokens: config.maxTokens,
      maxFileBytes: config.maxBlobBytes,
      doorUrl: `${config.publicBaseUrl}/agent/step/job`,
      secret: config.agentSecret,
    },
  }
  const verifier = createSignatureVerifier({
    currentKey: config.qstashCurrentSigningKey,
    nextKey: config.qstashNextSigningKey,
  })
  return { app: stepApp(config, deps, verifier), log, drain() {}, refused, close: closeStore }
}

/** Only the chosen adapter is loaded. */
async function openStore(
  config: StepConfig,
  supabase: SupabaseOptions & StoreOptions,
): Promise<{ store: StepStore & ObjectStore & RetentionStore; closeStore: () => Promise<void> }> {
  if (config.store === 'supabase') {
    const { createStepStore } = await import('../../shared/adapters/supabase/step-store.ts')
    return { store: createStepStore(supabase), async closeStore() {} }
  }
  const { createStepStore } = await import('../../shared/adapters/postgres/step-store.ts')
  const store = createStepStore({
    url: config.databaseUrl,
    timeoutMs: supabase.timeoutMs,
    refuse: supabase.refuse,
    applicationName: 'agent-step',
  })
  return { store, closeStore: () => store.close() }
}
