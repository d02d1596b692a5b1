import pg from 'pg'
import { Refusal } from './refusal.ts'

/**
 * Puts address and secret of the sweeper's call where pg_cron's job reads them (migration `cron`). Returns what was done: `no-vault`
 * where the database has none, and then a CronJob has to call.
 *
 * @param databaseUrl connection of the role that applies migrations
 */
export async function storeSweep(
  databaseUrl: string,
  sweep: { url: string; secret: string },
): Promise<'stored' | 'unchanged' | 'no-vault'> {
  const client = new pg.Client({
    connectionString: databaseUrl,
    connectionTimeoutMillis: 10_000,
    query_timeout: 15_000,
  })
  client.on('error', () => {})
  try {
    await client.connect()
    const { rows } = await client.query<{ vault: string | null }>(
      `select pg_catalog.to_regclass('vault.decrypted_secrets') as vault`,
    )
    if (rows[0]?.vault == null) return 'no-vault'
    const changed = [
      await put(client, 'agent_sweep_url', sweep.url),
      await put(client, 'agent_sweep_secret', sweep.secret),
    ]
    return changed.includes(true) ? 'stored' : 'unchanged'
  } catch (error) {
    // the code alone: the message of a failed statement may repeat its values
    const code =
      typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : 'no answer'
    throw new Refusal(
      `Vault could not be written (${code}): is MIGRATION_DATABASE_URL the connection of the role postgres?`,
    )
  } finally {
    await client.end().catch(() => {})
  }
}

async function put(client: pg.Client, name: string, value: string): Promise<boolean> {
  const { rows } = await client.query<{ id: string; same: boolean }>(
    'select id, decrypted_secret = $2 as same from vault.decrypted_secrets where name = $1',
    [name, value],
  )
  const [row] = rows
  if (row?.same === true) return false
  if (row === undefined) await client.query('select vault.create_secret($1, $2)', [value, name])
  else await client.query('select vault.update_secret($1, $2)', [row.id, value])
  return true
}

/** For an operator whose machine does not reach the database: nothing secret is in it. */
export function sweepByHand(publicBaseUrl: string, secretCommand: string): string[] {
  return [
    'pg_cron needs the address and the secret of the sweep in Vault. Run this again with MIGRATION_DATABASE_URL set, or in the SQL editor:',
    `    select vault.create_secret('${publicBaseUrl}/agent/step/sweep', 'agent_sweep_url');`,
    "    select vault.create_secret('<the secret>', 'agent_sweep_secret');   -- later: vault.update_secret(id, …)",
    `  <the secret> is what this prints: ${secretCommand}`,
  ]
}
