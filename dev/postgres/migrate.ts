import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import { withRoleLock } from './role-lock.ts'

/** Each loses at most deadlock_timeout, a second. */
const MAX_ATTEMPTS = 10
const NAME = /^(\d+)_(.+)\.sql$/

/** A migration failed; nothing of its file was applied. */
export class MigrationError extends Error {
  readonly file: string
  readonly line: number | null

  constructor(file: string, line: number | null, cause: pg.DatabaseError) {
    const where = line === null ? file : `${file}:${line}`
    const extras = [cause.detail, cause.hint && `hint: ${cause.hint}`, cause.where && `in ${cause.where}`]
    super([`${where}: ${cause.message} (${cause.code})`, ...extras.filter(Boolean)].join('\n'), { cause })
    this.name = 'MigrationError'
    this.file = file
    this.line = line
  }
}

/**
 * Applies the files `<version>_<name>.sql` of `dir` that `supabase_migrations.schema_migrations` does not name yet, in
 * order, each in one transaction, as the role of `url` (which should be `postgres`, as on hosted projects).
 * Returns the versions applied now.
 */
export async function migrate(url: string, dir: string): Promise<string[]> {
  const files = (await readdir(dir)).filter((name) => NAME.test(name)).sort()
  return await withRoleLock(url, async () => {
    const client = new pg.Client({ connectionString: url })
    client.on('error', () => {})
    await client.connect()
    try {
      await prepare(client)
      return await applyAll(client, dir, files)
    } finally {
      await client.end()
    }
  })
}

async function prepare(client: pg.Client): Promise<void> {
  await client.query(`
    create schema if not exists supabase_migrations;
    create table if not exists supabase_migrations.schema_migrations (
      version text primary key,
      statements text[],
      name text
    )`)
}

async function applyAll(client: pg.Client, dir: string, files: string[]): Promise<string[]> {
  const { rows } = await client.query<{ version: string }>(
    'select version from supabase_migrations.schema_migrations',
  )
  const done = new Set(rows.map((row) => row.version))
  const applied: string[] = []
  for (const file of files) {
    const [, version = '', name = ''] = NAME.exec(file) ?? []
    if (done.has(version)) continue
    await applyAgain(() => applyOne(client, dir, { file, version, name }))
    applied.push(version)
  }
  return applied
}

/** Services that go on working lock tables in orders of their own: a file that lost a deadlock to one of them has changed nothing. */
async function applyAgain(apply: () => Promise<void>): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await apply()
    } catch (error) {
      const cause = error instanceof MigrationError ? error.cause : undefined
      const lost = cause instanceof pg.DatabaseError && (cause.code === '40P01' || cause.code === '55P03')
      if (!lost || attempt === MAX_ATTEMPTS) throw error
    }
  }
}

async function applyOne(
  client: pg.Client,
  dir: string,
  migration: { file: string; version: string; name: string },
): Promise<void> {
  const text = await readFile(join(dir, migration.file), 'utf8')
  try {
    await client.query('begin')
    await client.query(text)
    await client.query(
      'insert into supabase_migrations.schema_migrations (version, name, statements) values ($1, $2, $3)',
      [migration.version, migration.name, [text]],
    )
    await client.query('commit')
  } catch (error) {
    await client.query('rollback').catch(() => {})
    if (!(error instanceof pg.DatabaseError)) throw error
    throw new MigrationError(join(dir, migration.file), lineOf(text, error.position), error)
  } finally {
    // A migration may set things for its session; the next one must not inherit them.
    await client.query('reset all').catch(() => {})
  }
}

/** `position` counts characters from 1. */
function lineOf(text: string, position: string | undefined): number | null {
  if (position === undefined) return null
  return (
    Array.from(text)
      .slice(0, Number(position) - 1)
      .filter((character) => character === '\n').length + 1
  )
}
