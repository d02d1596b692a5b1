import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { createProject, LOGIN_ROLES } from '../../dev/postgres/create-project.ts'
import { migrate } from '../../dev/postgres/migrate.ts'
import { SUPERUSER, startPostgres } from '../../dev/postgres/start-postgres.ts'
import { watchOver } from '../../dev/watchdog.ts'
import { collect, provide, type Suite } from './collect.ts'
import { instrument, measure } from './coverage.ts'
import { databaseMutants } from './database-mutants.ts'
import { moduleMutants } from './decide-mutants.ts'
import { DECIDE_SUITE, ENGINE_SUITES, QUICK_SUITES } from './kill-list.ts'
import { type Mutant, named } from './mutant.ts'
import { isSound, reason, runSuites } from './run-suites.ts'

/** What a worker says to main.ts. */
export type Report =
  | { kind: 'ready'; mutants: Mutant[] }
  | { kind: 'broken'; noticed: string }
  /** A case that fails on the original, too, when those that do not reach a mutant are left out: it says nothing. */
  | { kind: 'leaning'; title: string }
  | { kind: 'result'; id: string; noticed: string | null; milliseconds: number }

const DECIDE = '../../shared/core/decide.ts'
const MIGRATIONS = fileURLToPath(new URL('../../supabase/migrations', import.meta.url))
const say = (report: Report) => {
  if (process.connected) process.send?.(report)
}

const dir = await mkdtemp(join(tmpdir(), 'agent-functions-mutations-'))
await chmod(dir, 0o711) // run by root, the server's own account must be able to walk through
const server = await startPostgres({ dir, fsync: false })
const watchdog = watchOver(server.pid)
const roles = [SUPERUSER, ...LOGIN_ROLES]
provide({
  port: server.port,
  passwords: Object.fromEntries(roles.map((role) => [role, server.password(role)])),
})

await createProject(server, 'template_project')
await migrate(await cloned('template_project', 'template_original'), MIGRATIONS)

async function asAdmin<T>(database: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: server.url(SUPERUSER, database) })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}
async function cloned(template: string, name: string): Promise<string> {
  await asAdmin('postgres', async (client) => {
    await client.query(`drop database if exists ${name} with (force)`)
    await client.query(`create database ${name} template ${template} owner postgres`)
  })
  return server.url('postgres', name)
}

const load = (file: string, query = '') =>
  collect(file.replace(/^.*\//, ''), () => import(new URL(`${file}${query}`, import.meta.url).href))
const suites: Suite[] = []
const files = process.argv.includes('quick') ? QUICK_SUITES : [...QUICK_SUITES, ...ENGINE_SUITES]
for (const file of files) suites.push(await load(file))
const decidePath = new URL(DECIDE, import.meta.url)
const decideSource = await readFile(decidePath, 'utf8')

/** The suites look for `template_migrated`: what it is decides what they test. It is the original again when this ends. */
async function tryDatabase(mutant: Mutant): Promise<string | undefined> {
  const { apply, target, kind, undo } = mutant
  const refused = await asAdmin('template_migrated', (client) => client.query(apply)).then(
    () => undefined,
    (error: unknown) => `Postgres: ${error instanceof Error ? error.message : error}`,
  )
  const measured = functions.includes(target)
  const notice =
    refused === undefined
      ? // a grant is noticed by who noticed the grant before, whatever it is on
        await runSuites(
          suites,
          measured ? target : kind,
          ({ calls }) => !measured || calls === undefined || calls.has(target),
        )
      : undefined
  if (undo === undefined) await cloned('template_original', 'template_migrated')
  else await asAdmin('template_migrated', (client) => client.query(undo))
  if (refused !== undefined || notice === undefined) return refused
  if (await isSound(notice)) return notice.by
  say({ kind: 'leaning', title: notice.by })
  return tryDatabase(mutant)
}
let modules = 0
const changed = (globalThis as unknown as { mutatedModules: Map<string, string> }).mutatedModules
async function tryModule(text: string): Promise<string | undefined> {
  changed.set(decidePath.href, text)
  return (await runSuites([await load(DECIDE_SUITE, `?mutant=${modules++}`)], `module ${modules}`))?.by
}

process.on('message', async (mutant: Mutant | 'end') => {
  if (mutant === 'end') return close()
  const began = performance.now()
  const inModule = mutant.target.endsWith('.ts')
  const noticed = inModule ? await tryModule(mutant.apply) : await tryDatabase(mutant)
  say({ kind: 'result', id: mutant.id, noticed: noticed ?? null, milliseconds: performance.now() - began })
})
process.on('disconnect', close)
// a connection of a database that was dropped under it, or a step that a failed case left behind
process.on('unhandledRejection', () => undefined)
process.on('uncaughtException', () => undefined)

async function close(): Promise<void> {
  await server.remove()
  watchdog.dismiss()
  await rm(dir, { recursive: true, force: true })
  process.exit(0)
}

await cloned('template_original', 'template_migrated')
const functions = await asAdmin('template_migrated', instrument)
const connect = async (database: string) => {
  const client = new pg.Client({ connectionString: server.url(SUPERUSER, database) })
  // its database is dropped under it
  client.on('error', () => undefined)
  await client.connect()
  return client
}
const broken =
  (await measure(suites, functions, connect, new Set(suites.slice(QUICK_SUITES.length)))) ??
  (await tryModule(decideSource))
if (broken === undefined) {
  await cloned('template_original', 'template_migrated')
  const mutants = named([
    ...(await asAdmin('template_original', databaseMutants)),
    ...moduleMutants('shared/core/decide.ts', decideSource),
  ])
  say({ kind: 'ready', mutants })
} else say({ kind: 'broken', noticed: `${broken}\n${reason}` })
