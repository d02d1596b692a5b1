import { readFileSync } from 'node:fs'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { createProject } from '../dev/postgres/create-project.ts'
import { migrate } from '../dev/postgres/migrate.ts'
import { makeServiceLogin } from '../dev/postgres/service-login.ts'
import { startPostgres } from '../dev/postgres/start-postgres.ts'
import { watchOver } from '../dev/watchdog.ts'

const MIGRATIONS = fileURLToPath(new URL('../supabase/migrations', import.meta.url))
const FLOOR = readFileSync(new URL('./floor.sql', import.meta.url), 'utf8')
const INVARIANTS = readFileSync(new URL('../supabase/invariants.sql', import.meta.url), 'utf8')

export interface Database {
  /** URL of a login role of the project. */
  url(role: string): string
  /** Connection strings of the services' own narrow logins; floors use the one of `step`. */
  logins: { api: string; step: string }
  /** As superuser: measuring needs to see other backends. */
  sql<Row extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]>
  /** Rows that break an invariant. */
  violations(): Promise<number>
  close(): Promise<void>
}

const NAME = 'bench'

/**
 * A Postgres of our own that waits for the disk as a production server does, with the migrated schema and the floors' own.
 *
 * @param preload libraries that every backend loads; only for profiles, as they cost time of their own
 */
export async function openDatabase(preload = ''): Promise<Database> {
  const dir = await mkdtemp(join(tmpdir(), 'agent-functions-bench-'))
  await chmod(dir, 0o711) // run by root, the server's own account must be able to walk through
  let server = await startPostgres({ dir, fsync: true })
  if (preload !== '') {
    const admin = new pg.Client({ connectionString: server.superuserUrl })
    await admin.connect()
    await admin.query(`alter system set shared_preload_libraries = '${preload}'`)
    await admin.end()
    await server.stop()
    server = await startPostgres({ dir, fsync: true })
  }
  const watchdog = watchOver(server.pid)
  await createProject(server, NAME)
  await migrate(server.url('postgres', NAME), MIGRATIONS)
  const pool = new pg.Pool({ connectionString: server.url('supabase_admin', NAME), max: 2 })
  pool.on('error', () => {})
  await pool.query(FLOOR)
  await pool.query(`alter system set track_wal_io_timing = on`)
  await pool.query(`select pg_reload_conf()`)
  const login = (role: 'agent_api' | 'agent_step') =>
    makeServiceLogin(server.url('postgres', NAME), {
      name: `${role}_bench`,
      role,
      password: server.password(`${role}_bench`),
    })
  const sql = async <Row extends pg.QueryResultRow>(text: string, values?: unknown[]) =>
    (await pool.query<Row>(text, values)).rows
  return {
    url: (role) => server.url(role, NAME),
    logins: { api: await login('agent_api'), step: await login('agent_step') },
    sql,
    violations: async () => (await sql(INVARIANTS)).length,
    async close() {
      await pool.end()
      await server.remove()
      watchdog.dismiss()
      await rm(dir, { recursive: true, force: true })
    },
  }
}
