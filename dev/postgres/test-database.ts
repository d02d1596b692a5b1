import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { inject } from 'vitest'
import { createProject, type ProjectServer } from './create-project.ts'
import { migrate } from './migrate.ts'

/** What test/postgres.setup.ts provides to every test file: the shared server of this vitest run. */
export interface ProvidedPostgres {
  port: number
  /** Password by login role. */
  passwords: Record<string, string>
}

declare module 'vitest' {
  interface ProvidedContext {
    postgres: ProvidedPostgres
  }
}

export interface TestDatabase {
  name: string
  /** URL of a login role (postgres, authenticator, supabase_admin, supabase_auth_admin, supabase_storage_admin). */
  url(role: string): string
  /**
   * Drops it. Rejects when what the tests left behind breaks an invariant of the engine (supabase/invariants.sql), unless they did so
   * `onPurpose`. How long a run has been silent does not count: tests let time pass and leave runs behind.
   */
  drop(options?: { onPurpose?: boolean }): Promise<void>
}

const MIGRATIONS = fileURLToPath(new URL('../../supabase/migrations', import.meta.url))
const INVARIANTS = fileURLToPath(new URL('../../supabase/invariants.sql', import.meta.url))
const TEMPLATE_LOCK = 7_203_115

/**
 * A database of its own for a test file, cloned in about 50 ms from a template: `migrated` (default; the product's
 * migrations applied) or `project` (an empty Supabase project). Templates are made on first use, so that a broken
 * migration fails only the tests that need it. Roles are shared by the whole run.
 */
export async function testDatabase(template: 'migrated' | 'project' = 'migrated'): Promise<TestDatabase> {
  const server = sharedServer()
  const name = `test_${randomUUID().replaceAll('-', '')}`
  await asAdmin(server, async (client) => {
    await client.query('select pg_advisory_lock($1)', [TEMPLATE_LOCK])
    await ensureTemplate(server, client, template)
    await client.query('select pg_advisory_unlock($1)', [TEMPLATE_LOCK])
    await client.query(`create database ${name} template template_${template} owner postgres`)
  })
  return {
    name,
    url: (role) => server.url(role, name),
    async drop({ onPurpose = false } = {}) {
      const broken = template === 'migrated' && !onPurpose ? await brokenInvariants(server, name) : []
      await asAdmin(server, async (client) => {
        await client.query(`drop database if exists ${name} with (force)`)
      })
      if (broken.length > 0)
        throw new Error(
          `The tests left ${broken.length} broken invariants behind: ${JSON.stringify(broken.slice(0, 5))}`,
        )
    },
  }
}

async function brokenInvariants(server: ProjectServer, database: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: server.url('supabase_admin', database) })
  await client.connect()
  try {
    const { rows } = await client.query(readFileSync(INVARIANTS, 'utf8'))
    return rows.filter(({ invariant }) => invariant !== 'no run is silent')
  } finally {
    await client.end()
  }
}

function sharedServer(): ProjectServer {
  const { port, passwords } = inject('postgres')
  const password = (role: string) => {
    const found = passwords[role]
    if (found === undefined) throw new Error(`The role ${role} has no password in tests.`)
    return found
  }
  const url = (role: string, database = 'postgres') =>
    `postgres://${role}:${password(role)}@127.0.0.1:${port}/${database}`
  return { password, url, superuserUrl: url('supabase_admin') }
}

async function ensureTemplate(
  server: ProjectServer,
  client: pg.Client,
  template: 'migrated' | 'project',
): Promise<void> {
  const name = `template_${template}`
  const { rowCount } = await client.query('select from pg_database where datname = $1', [name])
  if (rowCount !== 0) return
  // Built under another name: a template that failed half-way must not be taken for a finished one.
  const making = `making_${template}`
  await client.query(`drop database if exists ${making} with (force)`)
  if (template === 'migrated') {
    await ensureTemplate(server, client, 'project')
    await client.query(`create database ${making} template template_project owner postgres`)
    await migrate(server.url('postgres', making), MIGRATIONS)
  } else {
    await createProject(server, making)
  }
  await client.query(`alter database ${making} rename to ${name}`)
}

async function asAdmin(server: ProjectServer, work: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new pg.Client({ connectionString: server.superuserUrl })
  await client.connect()
  try {
    await work(client)
  } finally {
    await client.end()
  }
}
