import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { inject } from 'vitest'

export async function query<T extends pg.QueryResultRow>(text: string, values: unknown[] = []): Promise<T[]> {
  const client = new pg.Client({ connectionString: inject('ground').databaseUrl })
  await client.connect()
  try {
    return (await client.query<T>(text, values)).rows
  } finally {
    await client.end()
  }
}

/** Rows that break the promise; there must be none. */
export function violations(): Promise<unknown[]> {
  return query(readFileSync(join(inject('ground').root, 'supabase/invariants.sql'), 'utf8'))
}
