import { createLog } from '../shared/adapters/pino/log.ts'
import { type Configs, readConfig } from '../shared/config/read-config.ts'
import type { Target } from '../shared/config/settings.ts'
import { ConfigError } from '../shared/core/config-error.ts'
import { createApp } from '../shared/http/create-app.ts'
import { type Running, serve } from '../shared/http/serve.ts'
import { createExecute } from './execute/app.ts'
import { createLogs } from './logs/app.ts'
import { createStatus } from './status/app.ts'
import { createStep } from './step/app.ts'
import { targetOf } from './target-of.ts'

/** Serves the four functions on one port. Paths that belong to none are answered for the whole. */
export async function serveAll(env: NodeJS.ProcessEnv = process.env): Promise<Running> {
  const configs = readAll(env)
  const { status: shared } = configs
  const services = {
    execute: await createExecute(configs.execute),
    status: await createStatus(configs.status),
    logs: await createLogs(configs.logs),
    step: await createStep(configs.step),
  }
  const log = createLog({ service: 'agent-api', level: shared.logLevel, version: shared.version })
  const front = createApp({
    service: 'agent-api',
    version: shared.version,
    log,
    allowedOrigins: shared.allowedOrigins,
    publicBaseUrl: shared.publicBaseUrl,
    ready: async () => {
      const asked = Object.values(services).map(({ app }) => app.request('/ready'))
      for (const answer of await Promise.all(asked)) {
        if (!answer.ok) throw new Error(`a function is not ready: ${answer.status}`)
      }
    },
  })
  const each = Object.values(services)
  const running = await serve(
    {
      fetch: (request, bindings) => {
        const target = targetOf(new URL(request.url).pathname)
        return (target === null ? front : services[target].app).fetch(request, bindings)
      },
    },
    {
      port: shared.port,
      host: shared.host,
      shutdownSeconds: configs.step.shutdownSeconds,
      log,
      onDrain: () => {
        for (const service of each) service.drain?.()
      },
      onClosed: async () => {
        await Promise.all(each.map((service) => service.close()))
      },
    },
  )
  return { ...running, refused: Promise.race(each.flatMap(({ refused }) => refused ?? [])) }
}

/** Of these the step function has its own value, by `STEP_` before the name: its database role is another than that of the rest. */
const OWN_OF_STEP = ['SUPABASE_ROLE_TOKEN', 'DATABASE_URL']

/** All faults of all functions in one message: a setting that several need is named once. */
function readAll(env: NodeJS.ProcessEnv): Omit<Configs, 'door'> {
  const faults = new Set<string>()
  const own = OWN_OF_STEP.map((name) => [name, env[`STEP_${name}`] || env[name]] as const)
  const stepEnv = { ...env, ...Object.fromEntries(own) }
  const read = <T extends Target>(target: T): Configs[T] | undefined => {
    try {
      return readConfig(target, target === 'step' ? stepEnv : env, { mounted: true })
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      for (const fault of error.faults) faults.add(fault)
      return undefined
    }
  }
  const [execute, status, logs, step] = [read('execute'), read('status'), read('logs'), read('step')]
  if (execute && status && logs && step) return { execute, status, logs, step }
  throw new ConfigError([...faults])
}
