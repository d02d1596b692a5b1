import { randomUUID } from 'node:crypto'
import { executeApp } from '../../functions/execute/routes.ts'
import { Connections } from '../../functions/logs/connections.ts'
import { logsApp } from '../../functions/logs/routes.ts'
import { statusApp } from '../../functions/status/routes.ts'
import { stepApp } from '../../functions/step/routes.ts'
import { targetOf } from '../../functions/target-of.ts'
import { testPorts } from '../../functions/test-kit.ts'
import { createMemoryStore } from '../../shared/adapters/memory/store.ts'
import { createSignatureVerifier } from '../../shared/adapters/qstash/signature.ts'
import { testConfig } from '../../shared/config/test-config.ts'
import { AppError } from '../../shared/core/errors.ts'
import { isUuid } from '../../shared/core/uuid.ts'
import { jobName, sha256Hex } from '../../shared/engine/job-token.ts'
import type { StepDeps } from '../../shared/engine/step-deps.ts'
import { createApp } from '../../shared/http/create-app.ts'
import { type ConnectionLimits, serve } from '../../shared/http/serve.ts'
import type { Caller, Identity } from '../../shared/ports/identity.ts'
import { ModelError } from '../../shared/ports/model.ts'
import {
  carryOut,
  claim,
  commitOf,
  newRun,
  plannedRun,
  runWithTools,
  toolStep,
} from '../../shared/ports/store-kit.suite.ts'

const ISSUER = 'https://p.example.com/auth/v1'
const FILE = 'bytes of a workspace file'
export const FILE_SHA256 = sha256Hex(FILE)
const PARKED_STEP = 2
const TOKEN = 'token-of-the-job'

/** A tool job that the store waits for. */
export interface Parked {
  run_id: string
  step_number: number
  token: string
}

/** The four functions on one port over a store in memory. */
export interface MemoryDoors {
  origin: string
  publicBaseUrl: string
  signingKey: string
  sweepSecret: string
  idleRun(user: string): Promise<string>
  endedRun(user: string): Promise<string>
  /** A run that asks its user to allow two calls. */
  askingRun(user: string): Promise<string>
  parked(): Promise<Parked>
  close(): Promise<void>
}

interface Options {
  env?: Record<string, string>
  /** The database's answer to everything that the functions ask. */
  fault?: Error
  limits?: Partial<ConnectionLimits>
}

export async function memoryDoors({ env = {}, fault, limits = {} }: Options = {}): Promise<MemoryDoors> {
  const store = createMemoryStore()
  const ports = { ...testPorts({ identity: identityByName }), store: failing(store.front, fault) }
  const connections = new Connections()
  const config = testConfig('step', env)
  const deps: StepDeps = {
    store: failing(store.step, fault),
    scheduler: await ports.scheduler(),
    cache: ports.cache,
    model: { turn: () => Promise.reject(new ModelError('unavailable', 'no model here')) },
    sandbox: {
      create: async () => 'created',
      inspect: async () => ({ state: 'running' }),
      remove: async () => {},
    },
    blobs: { put: async () => {}, get: async () => new TextEncoder().encode(FILE) },
    artifacts: await ports.artifacts(),
    log: ports.log,
    newId: randomUUID,
    today: () => '2026-11-23',
    settings: {
      leaseSeconds: 60,
      stepDeadlineSeconds: 60,
      approvalTools: new Set(),
      jobDeadlineSeconds: 60,
      jobStartSeconds: 30,
      maxTokens: 1000,
      maxFileBytes: config.maxBlobBytes,
      doorUrl: `${config.publicBaseUrl}/agent/step/job`,
      secret: config.agentSecret,
    },
  }
  const verifier = createSignatureVerifier({
    currentKey: config.qstashCurrentSigningKey,
    nextKey: config.qstashNextSigningKey,
  })
  const apps = {
    execute: executeApp(testConfig('execute', env), ports),
    status: statusApp(testConfig('status', env), ports),
    logs: logsApp(testConfig('logs', env), { ...ports, connections }),
    step: stepApp(config, deps, verifier),
  }
  const front = createApp({
    service: 'agent-api',
    version: config.version,
    log: ports.log,
    allowedOrigins: [],
    publicBaseUrl: config.publicBaseUrl,
    ready: () => ports.store.ready(),
  })
  const running = await serve(
    {
      fetch(request, bindings) {
        const target = targetOf(new URL(request.url).pathname)
        return (target === null ? front : apps[target]).fetch(request, bindings)
      },
    },
    {
      port: 0,
      host: '127.0.0.1',
      log: undefined,
      shutdownSeconds: 1,
      onDrain: () => connections.drain(),
      onClosed: async () => {},
      limits,
    },
  )
  const fixture = {
    front: store.front,
    step: store.step,
    advance: async () => {},
    violations: async () => store.violations(),
    sweep: async () => store.sweep(),
    switchOff: async () => async () => {},
    close: async () => {},
  }
  const idleRun = async (user: string) => {
    const { run } = await store.front.createRun(newRun(principalOf(user), { auto_start: false }))
    return run.id
  }
  return {
    origin: `http://127.0.0.1:${running.port}`,
    publicBaseUrl: config.publicBaseUrl,
    signingKey: config.qstashCurrentSigningKey,
    sweepSecret: config.sweepSecret,
    idleRun,
    async endedRun(user) {
      const run_id = await idleRun(user)
      await store.front.cancelRun({ principal: principalOf(user), run_id })
      return run_id
    },
    async askingRun(user) {
      const run_id = await plannedRun(fixture, principalOf(user))
      const steps = ['one', 'two'].map((id) => toolStep(id, { needs_approval: true }))
      const next = { kind: 'wait_approval', question: 'May I use shell?', steps } as const
      await carryOut(fixture, run_id, 1, commitOf({ next }))
      return run_id
    },
    async parked() {
      const files = [{ path: 'inputs/a.txt', sha256: FILE_SHA256, size: FILE.length, mode: 0o644 }]
      const run_id = await runWithTools(fixture, principalOf(randomUUID()), [toolStep('call')], { files })
      const { step } = await claim(fixture, run_id, PARKED_STEP)
      await store.step.parkStep({
        ...step,
        job_name: jobName({ runId: run_id, stepNumber: PARKED_STEP }),
        token_sha256: sha256Hex(TOKEN),
        deadline_seconds: 600,
        check_seconds: 600,
      })
      return { run_id, step_number: PARKED_STEP, token: TOKEN }
    },
    close: () => running.close(),
  }
}

const principalOf = (sub: string) => ({ issuer: ISSUER, sub, tenant_id: null, user_id_from: 'sub' as const })

/** A user's id is the user's token. */
const identityByName: Identity = {
  async verify(accessToken): Promise<Caller> {
    if (!isUuid(accessToken)) throw new AppError('unauthorized', 'Unauthorized')
    return {
      ...principalOf(accessToken),
      accessToken,
      expiresAt: Date.now() / 1000 + 3600,
      projectUrl: 'https://p.example.com',
      projectKey: 'key',
    }
  },
}

/** The port of a part that is away: every call is rejected. */
function failing<T extends object>(port: T, fault: Error | undefined): T {
  if (fault === undefined) return port
  return new Proxy(port, {
    get: (target, name) => (Object.hasOwn(target, name) ? () => Promise.reject(fault) : undefined),
  })
}
