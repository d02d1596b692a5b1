import pg from 'pg'
import { sqlArgument, sqlError } from '../../core/sql-call.ts'
import type { SqlCall } from '../../ports/sql-call.ts'

export interface PostgresOptions {
  /** Connection string of a login role that is a member of agent_api or agent_step and of nothing else. */
  url: string
  /** A call without an answer by then counts as "not known whether it happened". */
  timeoutMs: number
  /** As pg_stat_activity shows it. */
  applicationName: string
  /** The server ends a statement, or its wait for a lock, after these. */
  statementTimeoutMs: number
  lockTimeoutMs: number
}

export interface Connection {
  call: SqlCall
  /** Ends all connections; calls in flight are waited for. */
  close(): Promise<void>
}

/** One process does little at once, and a hundred of them share a pooler of a few dozen connections. */
const MAX_CONNECTIONS = 4
/** For a free connection, or for a new one: a database that takes longer is not there. */
const CONNECT_TIMEOUT_MS = 5_000
/** A process that waits for its next request should hold nothing. */
const IDLE_TIMEOUT_MS = 10_000
const KEEPALIVE_DELAY_MS = 10_000

/**
 * Calls SQL functions over connections of its own. Each call is one statement, so one transaction, and unnamed, so that a pooler in
 * transaction mode can give it to any server connection.
 */
export function connect(options: PostgresOptions): Connection {
  const { url, timeoutMs, applicationName, statementTimeoutMs, lockTimeoutMs } = options
  const pool = new pg.Pool({
    connectionString: url,
    application_name: applicationName,
    max: MAX_CONNECTIONS,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    idleTimeoutMillis: IDLE_TIMEOUT_MS,
    query_timeout: timeoutMs,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEPALIVE_DELAY_MS,
    // Not startup parameters, which poolers refuse. Behind one in transaction mode the login role's own settings hold.
    onConnect: async (client) => {
      await client.query(`set statement_timeout = ${statementTimeoutMs}; set lock_timeout = ${lockTimeoutMs}`)
    },
  })
  // A connection that dies while nobody uses it is the next call's to replace.
  pool.on('error', () => {})

  return {
    async call<T>(name: string, argument: Record<string, unknown>): Promise<T> {
      const p = JSON.stringify(sqlArgument(argument))
      const client = await checkOut(pool, name)
      let broken: Error | undefined
      const onError = (error: Error) => {
        broken = error
      }
      client.on('error', onError)
      try {
        const { rows } = await client.query<{ answer: T }>({
          text: `select public.${pg.escapeIdentifier(name)}($1::jsonb) as answer`,
          values: [p],
        })
        return (rows[0] as { answer: T }).answer
      } catch (error) {
        // Only what the server itself refused leaves a connection that can be used again; a cut or a timeout may still be working.
        if (!(error instanceof pg.DatabaseError) || error.severity !== 'ERROR') broken = error as Error
        throw sqlError(name, faultOf(error), error)
      } finally {
        client.off('error', onError)
        client.release(broken)
      }
    },
    close: () => pool.end(),
  }
}

/** Whatever goes wrong before a statement is sent, a refused password included, is a database that is not there: nothing has happened. */
async function checkOut(pool: pg.Pool, name: string): Promise<pg.PoolClient> {
  try {
    return await pool.connect()
  } catch (error) {
    throw sqlError(name, { ...faultOf(error), code: undefined }, error)
  }
}

function faultOf(error: unknown): { code: string | undefined; message: string; hint: string | undefined } {
  if (!(error instanceof Error)) return { code: undefined, message: String(error), hint: undefined }
  if (!(error instanceof pg.DatabaseError))
    return { code: undefined, message: error.message, hint: undefined }
  return { code: error.code, message: error.message, hint: error.hint }
}
