import type pg from 'pg'
import type { CallerClaims, RequestFacts } from './caller.ts'

/** The database cannot be had (down, or all connections busy): callers answer 503 or 504 and never hang. */
export class DatabaseAway extends Error {
  readonly kind: 'down' | 'busy'

  constructor(kind: 'down' | 'busy', cause: unknown) {
    super(kind === 'busy' ? 'No free database connection' : 'The database does not answer', { cause })
    this.name = 'DatabaseAway'
    this.kind = kind
  }
}

export type Query = <Row extends pg.QueryResultRow>(
  text: string,
  values?: unknown[],
) => Promise<pg.QueryResult<Row>>

export interface TransactOptions {
  /** Null: as the connection's own role, without claims. */
  caller: CallerClaims | null
  request?: RequestFacts
  searchPath?: string
  /** `role → its settings` (alter role … set …), which `set role` alone does not apply. */
  settings?: [name: string, value: string][]
  readOnly?: boolean
  /** True: roll back even when the work succeeded (permission probes). */
  rollback?: boolean
}

/** One transaction as the caller. Rolled back, and a broken connection thrown away, on any error. */
export async function transact<T>(
  pool: pg.Pool,
  options: TransactOptions,
  work: (query: Query) => Promise<T>,
): Promise<T> {
  const client = await checkout(pool)
  let broken: Error | undefined
  const onError = (error: Error) => {
    broken = error
  }
  client.on('error', onError)
  const query: Query = (text, values) => client.query(text, values)
  try {
    await query(options.readOnly ? 'begin read only' : 'begin')
    await enter(query, options)
    const result = await work(query)
    await query(options.rollback ? 'rollback' : 'commit')
    return result
  } catch (error) {
    if (broken === undefined && isConnectionError(error)) broken = error as Error
    if (broken === undefined) {
      // A connection that cannot even roll back must not serve anybody else with a role still set.
      await client.query('rollback').catch((failure: Error) => {
        broken = failure
      })
    }
    throw isConnectionError(error) ? new DatabaseAway('down', error) : error
  } finally {
    client.off('error', onError)
    client.release(broken)
  }
}

/** `DatabaseAway` when a query outside a transaction failed for want of a database; other errors as they are. */
export function asDatabaseAway(error: unknown): unknown {
  if (error instanceof Error && BUSY.test(error.message)) return new DatabaseAway('busy', error)
  return isConnectionError(error) ? new DatabaseAway('down', error) : error
}

// pg-pool says it in words only.
const BUSY = /timeout exceeded when trying to connect/

async function checkout(pool: pg.Pool): Promise<pg.PoolClient> {
  try {
    return await pool.connect()
  } catch (error) {
    const busy = error instanceof Error && BUSY.test(error.message)
    throw new DatabaseAway(busy ? 'busy' : 'down', error)
  }
}

async function enter(query: Query, options: TransactOptions): Promise<void> {
  const settings: [string, string][] = []
  if (options.searchPath !== undefined) settings.push(['search_path', options.searchPath])
  settings.push(...(options.settings ?? []))
  if (options.request !== undefined) {
    settings.push(['request.method', options.request.method], ['request.path', options.request.path])
    settings.push(['request.headers', JSON.stringify(options.request.headers)])
  }
  if (options.caller !== null) {
    settings.push(
      ['request.jwt.claims', JSON.stringify(options.caller.claims)],
      ['role', options.caller.role],
    )
  }
  if (settings.length === 0) return
  const calls = settings.map((_, index) => `set_config($${2 * index + 1}, $${2 * index + 2}, true)`)
  await query(`select ${calls.join(', ')}`, settings.flat())
}

function isConnectionError(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const { code } = error as Error & { code?: string }
  // 57P01-03: shut down, crashed, starting. A client-side failure has no SQLSTATE (five characters) at all.
  if (code !== undefined && /^(57P0[123]|08...)$/.test(code)) return true
  if (code !== undefined && /^E[A-Z]+$/.test(code)) return true
  return /Connection terminated|Query read timeout|not queryable|Client has encountered/.test(error.message)
}
