import { readFile } from 'node:fs/promises'
import pg from 'pg'
import { withRoleLock } from './role-lock.ts'
import type { Postgres } from './start-postgres.ts'

/** What is needed of a server to make projects on it. */
export type ProjectServer = Pick<Postgres, 'superuserUrl' | 'url' | 'password'>

export const LOGIN_ROLES = [
  'postgres',
  'authenticator',
  'supabase_auth_admin',
  'supabase_storage_admin',
] as const
const PARTS = ['project.sql', 'auth.sql', 'storage.sql'] as const

function sql(name: string): Promise<string> {
  return readFile(new URL(`./sql/${name}`, import.meta.url), 'utf8')
}

/** Makes the roles of a hosted Supabase project; finds them when they exist. */
export async function bootstrapCluster(server: ProjectServer): Promise<void> {
  const text = await sql('cluster.sql')
  await withRoleLock(server.superuserUrl, async (client) => {
    await client.query(text)
    for (const role of LOGIN_ROLES) {
      // Passwords follow the directory's secret; hex, so no quoting is needed.
      await client.query(`alter role ${role} with password '${server.password(role)}'`)
    }
  })
}

/**
 * Makes database `name` look like that of a hosted Supabase project (roles, schemas auth, storage and extensions, default
 * privileges, publication), owned by the role `postgres`. Idempotent: runs at every start.
 */
export async function createProject(server: ProjectServer, name: string): Promise<void> {
  await bootstrapCluster(server)
  await withRoleLock(server.superuserUrl, async (client) => {
    const { rowCount } = await client.query('select from pg_database where datname = $1', [name])
    if (rowCount === 0) await client.query(`create database ${pg.escapeIdentifier(name)} owner postgres`)
    const texts = await Promise.all(PARTS.map(sql))
    const project = new pg.Client({ connectionString: server.url('supabase_admin', name) })
    await project.connect()
    try {
      await project.query(`begin;\n${texts.join('\n')}\ncommit;`)
    } finally {
      await project.end()
    }
  })
}
