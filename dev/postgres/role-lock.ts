import pg from 'pg'

// Any number will do as long as everybody takes the same one.
const ROLE_LOCK = 7_203_114

/**
 * Runs `work` while nobody else in the cluster changes roles. Roles are cluster-wide but advisory locks belong to one
 * database, so the lock is always taken in `postgres`. Without it two migrations at once fail on `create role` (23505)
 * or on grants ("tuple concurrently updated").
 */
export async function withRoleLock<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const maintenance = new URL(url)
  maintenance.pathname = '/postgres'
  const client = new pg.Client({ connectionString: maintenance.href })
  client.on('error', () => {})
  await client.connect()
  try {
    await client.query('select pg_advisory_lock($1)', [ROLE_LOCK])
    return await work(client)
  } finally {
    // Ending the session releases the lock.
    await client.end()
  }
}
