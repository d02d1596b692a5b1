import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import { MigrationError, migrate } from '../../dev/postgres/migrate.ts'
import { Refusal } from './refusal.ts'
import { ROOT } from './render.ts'

const DIR = join(ROOT, 'supabase/migrations')

/** Files that the database has not seen. The table is the one of `supabase db push`: either may be used, in any order. */
export async function pendingMigrations(url: string): Promise<string[]> {
  const files = (await readdir(DIR)).filter((name) => name.endsWith('.sql')).toSorted()
  const client = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: 10_000,
    query_timeout: 10_000,
  })
  client.on('error', () => {})
  try {
    await client.connect()
    const { rows } = await client
      .query<{ version: string }>('select version from supabase_migrations.schema_migrations')
      .catch((error: unknown) => {
        if (error instanceof pg.DatabaseError && (error.code === '42P01' || error.code === '3F000'))
          return { rows: [] }
        throw error
      })
    const done = new Set(rows.map(({ version }) => version))
    return files.filter((file) => !done.has(file.split('_')[0] ?? ''))
  } catch (error) {
    throw new Refusal(`The database cannot be reached with MIGRATION_DATABASE_URL (${codeOf(error)}).`)
  } finally {
    await client.end().catch(() => {})
  }
}

/** Applies them in order, each in a transaction. Versions that were applied. */
export async function applyMigrations(url: string): Promise<string[]> {
  try {
    return await migrate(url, DIR)
  } catch (error) {
    if (error instanceof MigrationError)
      throw new Refusal(`A migration failed and changed nothing: ${error.message}`)
    throw new Refusal(`The migrations could not be applied (${codeOf(error)}).`)
  }
}

function codeOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : 'no answer'
}
