import { EventEmitter } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import { getRequestListener } from '@hono/node-server'
import { Hono } from 'hono'
import { createLog } from '../shared/adapters/pino/log.ts'
import { SERVICES, type ServiceName, TARGETS, type Target } from '../shared/config/settings.ts'
import type { Confinement } from '../shared/runner/confinement.ts'
import { detectConfinement } from '../shared/runner/detect-confinement.ts'
import { buildFunctions } from './build.ts'
import { formatEnv, functionEnv, userSettings } from './function-env.ts'
import { functionRoutes, idleMs } from './function-routes.ts'
import { createGateway, type Gateway } from './gateway/create-gateway.ts'
import type { ScaleEvent } from './gateway/function-pool.ts'
import { type LogFile, openLogFile } from './gateway/log-file.ts'
import { createJobs, type Jobs } from './jobs/create-jobs.ts'
import { type Lock, LockedError, takeLock } from './lock.mjs'
import { type ScriptedModel, startScriptedModel } from './model/start-scripted-model.ts'
import { listenOnLocalhost, type OriginServer } from './origin-server.ts'
import { createProject } from './postgres/create-project.ts'
import { migrate } from './postgres/migrate.ts'
import { postgresOsUser } from './postgres/os-user.ts'
import { preparePlace } from './postgres/place.ts'
import { stopLeftover } from './postgres/postmaster.ts'
import { makeServiceLogin, type ServiceRole } from './postgres/service-login.ts'
import { type Postgres, startPostgres } from './postgres/start-postgres.ts'
import { createQStash, type QStash } from './qstash/qstash.ts'
import { createRedis, type Redis } from './redis/redis.ts'
import { readSecrets, writePrivate } from './secrets.ts'
import { createSupabase, type Supabase } from './supabase/create-supabase.ts'
import { type Sweeper, startSweeper } from './sweeper.ts'
import { type Watchdog, watchOver } from './watchdog.ts'

export interface StackOptions {
  /** Of the repository. */
  root: string
  /** All state lies below; one stack a directory at a time. */
  dir: string
  /** 0: any free one. */
  port: number
  /** Delete the state first. */
  fresh?: boolean
  /** Let a real model run tools on a machine without a sandbox. */
  unsafeTools?: boolean
  /** One line of trouble: crashes, errors of the functions. Everything is in `<dir>/logs`. */
  log?: (line: string) => void
  /** Ends a start that is under way. */
  signal?: AbortSignal
  /** Over the defaults, by function: milliseconds without a request until it is stopped. */
  idleMs?: Partial<Record<Target, number>>
  /** Of the scripted model; Infinity for tests. */
  tokensPerSecond?: number
  /** Settings for the functions; the default is the environment over `<root>/.env`. */
  settings?: Readonly<Record<string, string | undefined>>
  sweepIntervalMs?: number
  /** False for tests only: a crash of the machine may then lose the database. */
  fsync?: boolean
  /** For tests: the address under which the faces reach the database, e.g. that of a proxy which cuts connections. */
  databaseRoute?: (url: string) => string
  /** For tests: where the functions answer, when another platform than this stack's gateway runs them. */
  publicBaseUrl?: string
}

/** What `<dir>/env` holds, and more for tests. */
export interface StackEnv {
  API_URL: string
  SUPABASE_URL: string
  SUPABASE_ANON_KEY: string
  SUPABASE_SERVICE_ROLE_KEY: string
  DATABASE_URL: string
  DEMO_EMAIL: string
  DEMO_PASSWORD: string
  QSTASH_URL: string
  QSTASH_TOKEN: string
  QSTASH_CURRENT_SIGNING_KEY: string
  QSTASH_NEXT_SIGNING_KEY: string
  UPSTASH_REDIS_REST_URL: string
  UPSTASH_REDIS_REST_TOKEN: string
}

export interface Stack {
  origin: string
  dir: string
  env: StackEnv
  /** Lines the user should read: scripted model, no sandbox. */
  notices: string[]
  gateway: Gateway
  qstash: QStash
  postgres: Postgres
  supabase: Supabase
  /** For tests: answers that the scripted model has sent whole; 0 with a real model. */
  modelAnswers(): number
  /** For tests: what each function, and the door, is given, but for PORT and HOST. */
  environments: Readonly<Record<ServiceName, Readonly<Record<string, string>>>>
  /** For tests: with false Redis answers 503. */
  setRedisAvailable(available: boolean): void
  on(event: 'scale', listener: (event: ScaleEvent) => void): void
  /** Stops everything in order; no process, port or lock is left. A second call joins the first. */
  close(): Promise<void>
  /** For the second Ctrl-C: kills the functions and gives up the lock at once; the rest ends with this process. */
  kill(): void
}

const DATABASE = 'supabase'
const DEMO_EMAIL = 'demo@example.com'
/** A function may finish what it has in hand when the stack stops; a step that needs longer is taken up by the next start. */
const CLOSE_GRACE_MS = 3_000

interface Parts {
  lock?: Lock
  server?: OriginServer
  postgres?: Postgres
  watchdog?: Watchdog
  model?: ScriptedModel
  jobs?: Jobs
  redis?: Redis
  supabase?: Supabase
  gateway?: Gateway
  sweeper?: Sweeper
  qstash?: QStash
  logFiles: LogFile[]
}

/** Brings the local stack up on one origin. Rejects with an Error whose message is one sentence that says what to do. */
export async function startStack(options: StackOptions): Promise<Stack> {
  const parts: Parts = { logFiles: [] }
  const log = options.log ?? (() => {})
  let closing: Promise<void> | undefined
  const close = () => {
    closing ??= closeParts(parts, log)
    return closing
  }
  try {
    return await start(options, parts, log, close)
  } catch (error) {
    await close()
    throw error
  }
}

async function start(
  options: StackOptions,
  parts: Parts,
  log: (line: string) => void,
  close: () => Promise<void>,
): Promise<Stack> {
  const { root, dir, signal } = options
  await mkdir(dir, { recursive: true })
  parts.lock = lockStack(dir)
  parts.server = await listenOnLocalhost(options.port)
  const origin = `http://localhost:${parts.server.port}`
  // Without our secrets what is in the database cannot be used: passwords and keys belong to them.
  if (options.fresh || !existsSync(join(dir, 'secrets.json'))) await removeState(dir)
  const secrets = await readSecrets(join(dir, 'secrets.json'), { origin })
  const settings = options.settings ?? userSettings(join(root, '.env'))
  const open = (name: string) => {
    const file = openLogFile(join(dir, 'logs', name))
    parts.logFiles.push(file)
    return file
  }
  const partLog = createPartLog(open('stack.log'))
  const isScripted = !settings.ANTHROPIC_API_KEY

  const [postgres, build, model, { confinement, reason }] = await allOrNone([
    startDatabase(options, parts),
    buildFunctions({
      root,
      onWait: (pid) => log(`Process ${pid} is building the functions; waiting for it…`),
    }),
    isScripted ? startModel(options, parts) : undefined,
    detectConfinement(),
  ])
  signal?.throwIfAborted()
  const notices = noticesFor({ isScripted, confinement, reason, unsafeTools: options.unsafeTools ?? false })

  const route = options.databaseRoute ?? ((url: string) => url)
  const supabase = await createSupabase({
    databaseUrl: (role) => route(postgres.url(role, DATABASE)),
    origin: secrets.issuerOrigin,
    keysFile: join(dir, 'keys.json'),
    storageDir: join(dir, 'storage'),
  })
  parts.supabase = supabase
  const jobs = createJobs({
    dir: join(dir, 'jobs'),
    token: secrets.sandboxToken,
    runnerPath: join(build.outDir, 'runner.mjs'),
    confinement,
    log: createLog({ service: 'jobs', level: 'info' }, open('jobs.log')),
  })
  parts.jobs = jobs
  const redis = createRedis({
    token: secrets.redisToken,
    log: (fields, message) => partLog('redis', message, fields),
  })
  parts.redis = redis

  const env: StackEnv = {
    API_URL: origin,
    SUPABASE_URL: origin,
    SUPABASE_ANON_KEY: supabase.anonKey,
    SUPABASE_SERVICE_ROLE_KEY: supabase.serviceRoleKey,
    DATABASE_URL: postgres.url('postgres', DATABASE),
    DEMO_EMAIL,
    DEMO_PASSWORD: secrets.demoPassword,
    QSTASH_URL: `${origin}/qstash`,
    QSTASH_TOKEN: secrets.qstashToken,
    QSTASH_CURRENT_SIGNING_KEY: secrets.qstashCurrentSigningKey,
    QSTASH_NEXT_SIGNING_KEY: secrets.qstashNextSigningKey,
    UPSTASH_REDIS_REST_URL: `${origin}/redis`,
    UPSTASH_REDIS_REST_TOKEN: secrets.redisToken,
  }
  const shared = {
    ...pick(env, [
      'SUPABASE_URL',
      'SUPABASE_ANON_KEY',
      'QSTASH_URL',
      'QSTASH_TOKEN',
      'QSTASH_CURRENT_SIGNING_KEY',
    ]),
    ...pick(env, ['QSTASH_NEXT_SIGNING_KEY', 'UPSTASH_REDIS_REST_URL', 'UPSTASH_REDIS_REST_TOKEN']),
    PUBLIC_BASE_URL: options.publicBaseUrl ?? origin,
    TRUSTED_ISSUERS: JSON.stringify([
      {
        issuer: supabase.issuer,
        jwks_url: `${origin}/auth/v1/.well-known/jwks.json`,
        user_id: 'sub',
        project_url: origin,
        project_key: supabase.anonKey,
      },
    ]),
    ALLOWED_ORIGINS: '*',
    SANDBOX_URL: await jobs.listen(),
    SANDBOX_TOKEN: secrets.sandboxToken,
    AGENT_SECRET: secrets.agentSecret,
    SWEEP_SECRET: secrets.sweepSecret,
    ...(model
      ? { ANTHROPIC_API_KEY: 'scripted', ANTHROPIC_BASE_URL: model.url, AGENT_MODEL: 'scripted' }
      : {}),
  }
  const logins = {
    agent_api: await serviceLogin(postgres, 'agent_api'),
    agent_step: await serviceLogin(postgres, 'agent_step'),
    agent_door: await serviceLogin(postgres, 'agent_door'),
  }
  const events = new EventEmitter<{ scale: [ScaleEvent] }>()
  const environments = Object.fromEntries(
    await Promise.all(
      SERVICES.map(async (name) => {
        const own = {
          ...shared,
          SUPABASE_ROLE_TOKEN: await supabase.mintRoleToken({ role: roleOf(name) }),
          // used with STORE=postgres only, but always ours: the user's DATABASE_URL is none of a function's business
          DATABASE_URL: logins[roleOf(name)],
        }
        // Compiled code is kept between starts: about half of a cold start.
        const cache = { NODE_COMPILE_CACHE: join(dir, 'compile-cache') }
        const env: Record<string, string> = { ...functionEnv(name, own, settings), ...cache }
        return [name, env] as const
      }),
    ),
  ) as Record<ServiceName, Record<string, string>>
  const gateway = createGateway({
    functions: TARGETS.map((name) => ({
      name,
      command: process.execPath,
      args: [join(build.outDir, `${name}.mjs`)],
      env: environments[name],
      routes: functionRoutes[name],
      idleMs: options.idleMs?.[name] ?? idleMs[name],
    })),
    logDir: join(dir, 'logs'),
    log,
  })
  parts.gateway = gateway
  gateway.on('scale', (event) => events.emit('scale', event))

  let redisAvailable = true
  const faces = new Hono()
    .mount('/qstash', (request, ...rest) => answer(parts.qstash?.fetch, request, rest))
    .mount('/redis', (request: Request) =>
      redisAvailable ? redis.fetch(request) : new Response(null, { status: 503 }),
    )
  const faceListener = getRequestListener(faces.fetch)
  const supabaseListener = getRequestListener(supabase.app.fetch)
  parts.server.serve((req, res) => {
    const path = req.url ?? '/'
    if (/^\/(rest|auth|storage)\/v1(\/|\?|$)/.test(path)) void supabaseListener(req, res)
    else if (/^\/(qstash|redis)(\/|\?|$)/.test(path)) void faceListener(req, res)
    else gateway.handler(req, res)
  })
  signal?.throwIfAborted()
  // Last: it delivers what was pending at once.
  const qstash = createQStash({
    token: secrets.qstashToken,
    currentKey: secrets.qstashCurrentSigningKey,
    nextKey: secrets.qstashNextSigningKey,
    persistTo: join(dir, 'qstash.json'),
    log: (fields, message) => partLog('qstash', message, fields),
  })
  parts.qstash = qstash
  parts.sweeper = startSweeper({
    databaseUrl: env.DATABASE_URL,
    url: `${options.publicBaseUrl ?? origin}/agent/step/sweep`,
    secret: secrets.sweepSecret,
    log,
    ...(options.sweepIntervalMs === undefined ? {} : { intervalMs: options.sweepIntervalMs }),
  })
  await writePrivate(join(dir, 'env'), formatEnv({ ...env }))
  return {
    origin,
    dir,
    env,
    notices,
    gateway,
    qstash,
    postgres,
    supabase,
    modelAnswers: () => parts.model?.answered() ?? 0,
    environments,
    setRedisAvailable(available) {
      redisAvailable = available
    },
    on: (event, listener) => {
      events.on(event, listener)
    },
    close,
    kill() {
      gateway.kill()
      parts.lock?.release()
    },
  }
}

function lockStack(dir: string): Lock {
  try {
    return takeLock(join(dir, 'lock'))
  } catch (error) {
    if (!(error instanceof LockedError)) throw error
    const file = join(dir, 'env')
    const url = existsSync(file) ? parseEnv(readFileSync(file, 'utf8')).API_URL : undefined
    const where = url === undefined ? '' : ` at ${url}`
    throw new Error(
      `A stack of this folder is running already${where} (process ${error.holder.pid}): use that one, or stop it with Ctrl-C or \`kill ${error.holder.pid}\`.`,
    )
  }
}

/** All but locks; the database's data may lie elsewhere (see preparePlace). */
async function removeState(dir: string): Promise<void> {
  const postgresDir = join(dir, 'postgres')
  const place = await preparePlace(postgresDir, postgresOsUser())
  await stopLeftover(place.data)
  await rm(place.data, { recursive: true, force: true })
  await rm(join(place.home, 'initialised'), { force: true })
  await rm(postgresDir, { recursive: true, force: true })
  const kept = /lock|^env$|^compile-cache$/
  for (const name of await readdir(dir))
    if (!kept.test(name)) await rm(join(dir, name), { recursive: true, force: true })
}

async function startDatabase({ root, dir, fsync }: StackOptions, parts: Parts): Promise<Postgres> {
  const postgres = await startPostgres({
    dir: join(dir, 'postgres'),
    ...(fsync === undefined ? {} : { fsync }),
  })
  parts.postgres = postgres
  parts.watchdog = watchOver(postgres.pid)
  await createProject(postgres, DATABASE)
  await migrate(postgres.url('postgres', DATABASE), join(root, 'supabase/migrations'))
  return postgres
}

function roleOf(service: ServiceName): ServiceRole {
  if (service === 'door') return 'agent_door'
  return service === 'step' ? 'agent_step' : 'agent_api'
}

function serviceLogin(postgres: Postgres, role: ServiceRole): Promise<string> {
  const name = `${role}_login`
  const password = postgres.password(name)
  return makeServiceLogin(postgres.url('postgres', DATABASE), { name, role, password })
}

async function startModel({ tokensPerSecond }: StackOptions, parts: Parts): Promise<ScriptedModel> {
  parts.model = await startScriptedModel(tokensPerSecond === undefined ? {} : { tokensPerSecond })
  return parts.model
}

/** As Promise.all, but nothing is still starting when it rejects: what has started by then can be closed. */
async function allOrNone<T extends readonly unknown[]>(
  starts: [...T],
): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  await Promise.allSettled(starts)
  return Promise.all(starts) as Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }>
}

function noticesFor({
  isScripted,
  confinement,
  reason,
  unsafeTools,
}: {
  isScripted: boolean
  confinement: Confinement
  reason: string
  unsafeTools: boolean
}): string[] {
  const notices = isScripted
    ? ['No ANTHROPIC_API_KEY: a scripted model answers. Set the key to use Claude.']
    : []
  if (confinement !== 'none') return notices
  if (!isScripted && !unsafeTools) {
    throw new Error(
      `This machine offers no sandbox for the tools of a real model (${reason}): install bubblewrap, or accept the risk with --unsafe-tools.`,
    )
  }
  const whose = isScripted ? 'The scripted model’s tools run' : 'The model’s tools run'
  return [...notices, `No sandbox on this machine (${reason}). ${whose} with the rights of this user.`]
}

async function closeParts(parts: Parts, log: (line: string) => void): Promise<void> {
  const steps: (() => unknown)[] = [
    () => parts.sweeper?.close(),
    () => parts.qstash?.close(),
    // The functions still reach their database while they drain.
    () => parts.gateway?.close({ graceMs: CLOSE_GRACE_MS }),
    () => Promise.all([parts.jobs?.close(), parts.model?.close(), parts.redis?.close()]),
    () => parts.server?.close(),
    () => parts.supabase?.close(),
    () => parts.postgres?.stop(),
    () => parts.watchdog?.dismiss(),
    () => {
      for (const file of parts.logFiles) file.close()
    },
    () => parts.lock?.release(),
  ]
  for (const step of steps) {
    try {
      await step()
    } catch (error) {
      log(`while stopping: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
}

function createPartLog(
  file: LogFile,
): (part: string, message: string, fields?: Record<string, unknown>) => void {
  return (part, message, fields = {}) => {
    const { err, ...rest } = fields
    const reason = err instanceof Error ? { err: err.message } : {}
    file.write(`${JSON.stringify({ time: new Date().toISOString(), part, message, ...reason, ...rest })}\n`)
  }
}

function pick<T extends object, K extends keyof T>(from: T, names: readonly K[]): Pick<T, K> {
  return Object.fromEntries(names.map((name) => [name, from[name]])) as Pick<T, K>
}

function answer(
  fetch: QStash['fetch'] | undefined,
  request: Request,
  rest: unknown[],
): Response | Promise<Response> {
  if (!fetch) return new Response('starting', { status: 503, headers: { 'retry-after': '1' } })
  return fetch(request, ...(rest as []))
}
