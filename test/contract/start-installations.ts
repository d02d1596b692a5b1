import { spawn } from 'node:child_process'
import { Agent, createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { freePort } from '../../dev/free-port.ts'
import { forward } from '../../dev/gateway/forward.ts'
import { targetOf } from '../../functions/target-of.ts'
import { TARGETS, type Target } from '../../shared/config/settings.ts'
import { ROOT, type SystemStack, systemStack } from '../system/kit.ts'
import type { Exchange } from './exchange.ts'
import type { Feature, Installation, Member } from './installation.ts'
import { apiPaths, functionPaths } from './paths.ts'
import { denoBinary, type Forwarders, startForwarders } from './start-forwarders.ts'

export const ALLOWED_ORIGIN = 'https://app.example.com'
const REFUSED_ORIGIN = 'https://evil.example.com'
const START_MS = 60_000
/** No function goes to zero while it is asked: cold starts have tests of their own. */
const IDLE_MS = 120_000

export const INSTALLATIONS = ['gateway', 'alone', 'all-in-one', 'forwarders'] as const
export type InstallationName = (typeof INSTALLATIONS)[number]

export interface Installations {
  system: SystemStack
  of: ReadonlyMap<InstallationName, Installation>
  /** What QStash and tool jobs said to the step function of the all-in-one entry. */
  tapped: Exchange[]
  close(): Promise<void>
}

/** The suite asks far more, and keeps far more open, than a person does; the limits have tests of their own. */
const NO_LIMITS = {
  RATE_CREATES_PER_MINUTE: '1000000',
  RATE_WRITES_PER_MINUTE: '1000000',
  RATE_READS_PER_MINUTE: '1000000',
  RATE_STREAMS_PER_MINUTE: '1000000',
  MAX_OPEN_RUNS_PER_USER: '100000',
  MAX_OPEN_RUNS_PER_TENANT: '100000',
}

/** One local stack, and over its database the four ways to reach the product. */
export async function startInstallations(): Promise<Installations> {
  const system = await systemStack({
    settings: { STEP_LEASE_SECONDS: '3', ...NO_LIMITS },
    idleMs: Object.fromEntries(TARGETS.map((target) => [target, IDLE_MS])),
  })
  const closing: (() => unknown)[] = [() => system.close()]
  const close = async () => {
    for (const step of closing.toReversed()) await step()
  }
  try {
    const stack = system.stack()
    const common = { ALLOWED_ORIGINS: `${ALLOWED_ORIGIN},http://localhost:5173`, LOG_LEVEL: 'error' }
    const tapped: Exchange[] = []
    const wholePort = await freePort()
    const tap = await startTap(wholePort, tapped)
    closing.push(() => tap.close())
    const { execute, status, logs, step } = stack.environments
    const whole = { ...execute, ...status, ...logs, ...step, ...common, PUBLIC_BASE_URL: tap.origin }
    const roles = {
      SUPABASE_ROLE_TOKEN: execute.SUPABASE_ROLE_TOKEN ?? '',
      STEP_SUPABASE_ROLE_TOKEN: step.SUPABASE_ROLE_TOKEN ?? '',
    }
    const deno = denoBinary()
    const [alone, , forwarders] = await Promise.all([
      Promise.all(
        TARGETS.map(async (target) => {
          const started = await start(
            `${target}.mjs`,
            { ...stack.environments[target], ...common },
            await freePort(),
          )
          closing.push(started.stop)
          return [target, started.origin] as const
        }),
      ),
      start('index.mjs', { ...whole, ...roles }, wholePort).then((started) => closing.push(started.stop)),
      deno === undefined ? undefined : startForwarders(deno, { API_URL: stack.origin }),
    ])
    if (forwarders) closing.push(() => forwarders.close())
    const [alice, bob] = await Promise.all([system.user('alice'), system.user('bob')])
    const of = describe(system, {
      alone: new Map(alone),
      whole: `http://127.0.0.1:${wholePort}`,
      forwarders,
      alice,
      bob,
    })
    return { system, of, tapped, close }
  } catch (error) {
    await close()
    throw error
  }
}

interface Started {
  alone: ReadonlyMap<Target, string>
  whole: string
  forwarders: Forwarders | undefined
  alice: Member
  bob: Member
}

function describe(
  system: SystemStack,
  { alone, whole, forwarders, alice, bob }: Started,
): Installations['of'] {
  const { origin, env } = system.stack()
  const fixtures = new Map<string, Promise<string>>()
  let members = 0
  const shared = {
    supabaseUrl: env.SUPABASE_URL,
    anonKey: env.SUPABASE_ANON_KEY,
    alice: { id: alice.id, token: alice.token },
    bob: { id: bob.id, token: bob.token },
    fixtures,
    allowedOrigin: ALLOWED_ORIGIN,
    refusedOrigin: REFUSED_ORIGIN,
    hooks: {
      query: system.query,
      async member(name: string) {
        members += 1
        const { id, token } = await system.user(`${name}-${members}`)
        return { id, token }
      },
      serviceRoleKey: env.SUPABASE_SERVICE_ROLE_KEY,
    },
  }
  const make = (
    name: InstallationName,
    own: Pick<Installation, 'baseOf' | 'paths' | 'functionsBase' | 'probes'>,
    features: Feature[],
  ): [InstallationName, Installation] => [
    name,
    {
      name,
      ...shared,
      ...own,
      exchanges: [],
      frames: [],
      made: new Map(),
      removed: new Set(),
      features: new Set(['runs', 'local', 'cors', ...features]),
    },
  ]
  const oneOf = (target: Target) => alone.get(target) ?? ''
  const aloneBase = (path: string) => oneOf(targetOf(path) ?? 'status')
  const list = [
    make(
      'gateway',
      {
        baseOf: () => origin,
        paths: apiPaths(),
        functionsBase: origin,
        probes: [{ url: origin, service: 'agent-api' }],
      },
      ['api'],
    ),
    make(
      'alone',
      {
        baseOf: aloneBase,
        paths: {
          execute: [...apiPaths().execute, `${oneOf('execute')}/`],
          status: [...apiPaths().status, `${oneOf('status')}/`],
          logs: [...apiPaths().logs, `${oneOf('logs')}/`],
        },
        // supabase-js has one URL for all functions: each is asked where it is.
        functionsBase: oneOf('execute'),
        probes: TARGETS.map((service) => ({ url: oneOf(service), service })),
      },
      ['api', 'refused-origin'],
    ),
    make(
      'all-in-one',
      {
        baseOf: () => whole,
        paths: apiPaths(),
        functionsBase: whole,
        probes: [{ url: whole, service: 'agent-api' }],
      },
      ['api', 'refused-origin'],
    ),
  ]
  if (forwarders) {
    const functions = {
      baseOf: () => forwarders.origin,
      paths: functionPaths(),
      functionsBase: forwarders.origin,
      probes: [],
    }
    list.push(make('forwarders', functions, []))
  }
  return new Map(list)
}

/** One bundle as a process, up when it is ready. */
export async function start(
  bundle: string,
  env: Record<string, string>,
  port: number,
): Promise<{ origin: string; stop: () => Promise<void> }> {
  const child = spawn(process.execPath, [join(ROOT, 'dist', bundle)], {
    env: { ...env, PORT: String(port), HOST: '127.0.0.1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let said = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk) => {
      said = (said + String(chunk)).slice(-4000)
    })
  const gone = new Promise<void>((done) => child.once('exit', () => done()))
  const stop = async () => {
    if (child.exitCode === null) child.kill('SIGKILL')
    await gone
  }
  const origin = `http://127.0.0.1:${port}`
  const end = Date.now() + START_MS
  for (;;) {
    const health = await fetch(`${origin}/health`).catch(() => undefined)
    await health?.body?.cancel()
    if (health?.ok) return { origin, stop }
    if (child.exitCode !== null || Date.now() > end) {
      await stop()
      throw new Error(`${bundle} does not start:\n${said}`)
    }
    await new Promise((done) => setTimeout(done, 50))
  }
}

/** Passes everything on to a port of this machine and keeps what was said. */
async function startTap(
  port: number,
  exchanges: Exchange[],
): Promise<{ origin: string; close(): Promise<void> }> {
  const agent = new Agent({ keepAlive: true })
  const server = createServer((req, res) => {
    const exchange = overhear(req, res)
    void forward(req, res, { port, agent }).then((outcome) => {
      if (outcome === 'done') exchanges.push(exchange())
      if (outcome === 'refused' || outcome === 'unreachable') res.writeHead(503, { 'retry-after': '1' }).end()
    })
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      server.closeAllConnections()
      await new Promise((done) => server.close(done))
      agent.destroy()
    },
  }
}

function overhear(req: IncomingMessage, res: ServerResponse): () => Exchange {
  const chunks: Buffer[] = []
  const write = res.write.bind(res) as (...args: unknown[]) => boolean
  res.write = ((chunk: Uint8Array, ...rest: unknown[]) => {
    chunks.push(Buffer.from(chunk))
    return write(chunk, ...rest)
  }) as typeof res.write
  const headers = new Headers()
  // forward() gives them as they came: a flat list of names and values.
  const writeHead = res.writeHead.bind(res) as (...args: unknown[]) => ServerResponse
  res.writeHead = ((...args: unknown[]) => {
    const list = args.find((argument) => Array.isArray(argument)) ?? []
    for (let n = 0; n + 1 < list.length; n += 2) headers.append(String(list[n]), String(list[n + 1]))
    return writeHead(...args)
  }) as typeof res.writeHead
  return () => {
    return {
      method: req.method ?? '',
      path: (req.url ?? '').split('?', 1)[0] ?? '',
      status: res.statusCode,
      type: (headers.get('content-type') ?? '').split(';', 1)[0] ?? '',
      text: Buffer.concat(chunks).toString('utf8'),
      headers,
    }
  }
}
