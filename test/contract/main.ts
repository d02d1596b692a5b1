import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseEnv } from 'node:util'
import { createClient } from '@supabase/supabase-js'
import ansis from 'ansis'
import { decodeJwt } from 'jose'
import { cases } from './cases.ts'
import type { Feature, Installation, Member } from './installation.ts'
import { type Credentials, type Options, parseOptions, UsageError } from './parse-options.ts'
import { apiPaths, functionPaths } from './paths.ts'
import { type Result, removeRuns, runCases, worldOf } from './run-cases.ts'

process.exit(await main())

async function main(): Promise<number> {
  try {
    const options = parseOptions(process.argv.slice(2), { ...localStack(), ...process.env })
    if (options === null) {
      console.log(readFileSync(join(import.meta.dirname, 'help.txt'), 'utf8'))
      return 0
    }
    return await hold(options)
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error))
    return error instanceof UsageError ? 2 : 1
  }
}

/** While `npm start` is up, nothing but --sign-up need be said. */
function localStack(): NodeJS.Dict<string> {
  const file = join(resolve(import.meta.dirname, '../..'), '.local/env')
  return existsSync(file) ? parseEnv(readFileSync(file, 'utf8')) : {}
}

async function hold(options: Options): Promise<number> {
  await reach(options.url)
  const [alice, bob] = await Promise.all([0, 1].map((n) => memberOf(options, options.users?.[n] ?? null, n)))
  if (alice === undefined || bob === undefined) throw new UsageError('Two users are needed.')
  if (alice.id === bob.id)
    throw new UsageError(
      'The second user is the first one: give another, so that it shows what strangers see.',
    )
  const made = [await holdOne(options, apiOf(options, alice, bob))]
  if (options.functionsUrl !== null)
    made.push(await holdOne(options, forwardersOf(options, options.functionsUrl, alice, bob)))
  return made.every((held) => held) ? 0 : 1
}

async function holdOne(options: Options, installation: Installation): Promise<boolean> {
  console.log(`\n${ansis.bold(installation.name)} ${installation.baseOf('/')}`)
  const world = worldOf(installation)
  const results = await runCases(
    world,
    cases.filter(({ name }) => name.includes(options.only)),
    print,
  )
  const faults = results.filter(({ fault }) => fault !== undefined)
  const skipped = results.filter((result) => result.skipped !== undefined)
  const held = results.length - faults.length - skipped.length
  for (const run of installation.fixtures.values()) {
    const run_id = await run.catch(() => undefined)
    if (run_id !== undefined) world.made.set(run_id, installation.alice)
  }
  world.fixtures.clear()
  await removeRuns(world)
  for (const { name, fault } of faults)
    console.log(`\n${ansis.red('✗')} ${name}\n  ${fault?.split('\n').slice(0, 12).join('\n  ')}`)
  console.log(
    `\n${held} cases held, ${faults.length} did not, ${skipped.length} not for it; ${installation.exchanges.length} answers, ${installation.frames.length} stream events; ${installation.removed.size} runs removed`,
  )
  return faults.length === 0 && held > 0
}

function print({ name, fault, skipped }: Result): void {
  if (skipped !== undefined) console.log(`${ansis.dim('-')} ${name} ${ansis.dim(`(needs ${skipped})`)}`)
  else console.log(`${fault === undefined ? ansis.green('✓') : ansis.red('✗')} ${name}`)
}

async function reach(url: string): Promise<void> {
  const health = await fetch(`${url}/health`).catch((error: unknown) => {
    const cause = error instanceof Error && error.cause instanceof Error ? `: ${error.cause.message}` : ''
    throw new UsageError(`${url} cannot be reached${cause}.`)
  })
  if (health.status !== 200)
    throw new UsageError(`${url}/health answered ${health.status}: is this the origin of the API?`)
}

async function memberOf(
  { supabaseUrl, anonKey }: Options,
  credentials: Credentials | null,
  n: number,
): Promise<Member> {
  if (credentials?.kind === 'token') {
    const { sub } = decodeJwt(credentials.token)
    if (sub === undefined) throw new UsageError('A token without `sub` is no user’s.')
    return { id: sub, token: credentials.token }
  }
  const { auth } = createClient(supabaseUrl, anonKey, {
    auth: { persistSession: false, autoRefreshToken: false },
  })
  const { data, error } =
    credentials === null
      ? await auth.signUp({ email: `contract-${Date.now()}-${n}@example.com`, password: crypto.randomUUID() })
      : await auth.signInWithPassword(credentials)
  if (error !== null)
    throw new UsageError(
      `${credentials?.email ?? 'A new user'} cannot sign in at ${supabaseUrl}: ${error.message}`,
    )
  if (data.session === null)
    throw new UsageError(
      'The project wants new users to confirm their address: give two that exist instead of --sign-up.',
    )
  return { id: data.session.user.id, token: data.session.access_token }
}

function apiOf(options: Options, alice: Member, bob: Member): Installation {
  const features: Feature[] = [
    'api',
    ...(options.runs ? (['runs'] as const) : []),
    ...(options.origin === null ? [] : (['cors'] as const)),
    ...(options.refusedOrigin === null ? [] : (['refused-origin'] as const)),
  ]
  return {
    name: 'API',
    baseOf: () => options.url,
    paths: apiPaths(),
    probes: [{ url: options.url, service: 'agent-api' }],
    functionsBase: options.url,
    supabaseUrl: options.supabaseUrl,
    anonKey: options.anonKey,
    alice,
    bob,
    allowedOrigin: options.origin,
    refusedOrigin: options.refusedOrigin,
    exchanges: [],
    frames: [],
    fixtures: new Map(),
    made: new Map(),
    removed: new Set(),
    features: new Set(features),
    hooks: null,
  }
}

function forwardersOf(options: Options, url: string, alice: Member, bob: Member): Installation {
  const api = apiOf(options, alice, bob)
  const features = [...api.features].filter((feature) => feature !== 'api')
  return {
    ...api,
    name: 'Forwarders',
    baseOf: () => url,
    paths: functionPaths(),
    probes: [],
    functionsBase: url,
    features: new Set(features),
  }
}
