import { createSignatureVerifier } from '../../shared/adapters/qstash/signature.ts'
import type { StepConfig } from '../../shared/config/read-config.ts'
import { lazy } from '../../shared/core/lazy.ts'
import type { StepDeps } from '../../shared/engine/step-deps.ts'
import type { Service } from '../../shared/http/service.ts'
import { openJobPorts } from './job-ports.ts'
import { stepApp } from './routes.ts'

/** Wires the step function. SDKs that not every invocation needs are loaded when they are. */
export async function createStep(config: StepConfig): Promise<Service> {
  const { log, supabase, refused, close, store, ...ports } = await openJobPorts(config)
  const model = lazy(async () => {
    const { createModel } = await import('../../shared/adapters/anthropic/model.ts')
    return createModel({
      apiKey: config.anthropicApiKey,
      baseUrl: config.anthropicBaseUrl,
      model: config.model,
    })
  })
  const sandbox = lazy(async () => {
    if (config.sandbox === 'kubernetes') {
      const { createKubernetesSandbox } = await import('../../shared/adapters/kubernetes/sandbox.ts')
      return createKubernetesSandbox({
        namespace: config.sandboxNamespace,
        image: config.toolImage,
        doorAddress: config.doorAddress,
        runtimeClass: config.toolRuntimeClass,
        hostUsers: config.toolHostUsers,
        proxyUrl: config.toolProxyUrl,
        cpuMillicores: config.toolCpuMillicores,
      })
    }
    const { createLocalSandbox } = await import('../../shared/adapters/local/sandbox.ts')
    return createLocalSandbox({ url: config.sandboxUrl, token: config.sandboxToken })
  })
  const days = config.retentionDays
  const deps: StepDeps = {
    ...ports,
    store,
    model: { turn: async (request, options) => (await model()).turn(request, options) },
    sandbox: {
      create: async (job) => (await sandbox()).create(job),
      inspect: async (name) => (await sandbox()).inspect(name),
      remove: async (name) => (await sandbox()).remove(name),
    },
    objects: {
      remove: async (objects) => {
        const { removeObjects } = await import('../../shared/adapters/supabase/storage.ts')
        return removeObjects(supabase, objects)
      },
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
      jobStartSeconds: config.jobStartSeconds,
      doorUrl: config.doorUrl || `${config.publicBaseUrl}/agent/step/job`,
      secret: config.agentSecret,
    },
  }
  const verifier = createSignatureVerifier({
    currentKey: config.qstashCurrentSigningKey,
    nextKey: config.qstashNextSigningKey,
  })
  return { app: stepApp(config, deps, verifier), log, drain() {}, refused, close }
}
