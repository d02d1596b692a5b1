import { createHmac } from 'node:crypto'
import pg from 'pg'

export interface Sweeper {
  close(): Promise<void>
}

/**
 * What pg_cron and pg_net do for a hosted database: sweeps in SQL every few seconds, and wakes the step function only when something
 * has to be published. The request carries `x-agent-timestamp` (Unix seconds) and `x-agent-signature`, the hex HMAC-SHA-256 of
 * `<timestamp>.<body>` with the sweep secret.
 */
export function startSweeper({
  databaseUrl,
  url,
  secret,
  intervalMs = 5_000,
  log,
}: {
  /** Of the role `postgres`. */
  databaseUrl: string
  /** POST /agent/step/sweep. */
  url: string
  secret: string
  intervalMs?: number
  log: (line: string) => void
}): Sweeper {
  const pool = new pg.Pool({
    connectionString: databaseUrl,
    max: 1,
    connectionTimeoutMillis: 5_000,
    statement_timeout: 30_000,
  })
  pool.on('error', () => {}) // the database went away; the next sweep connects again
  const closing = new AbortController()
  let running: Promise<void> | undefined
  let lastTrouble = ''

  const sweep = async () => {
    const { rows } = await pool.query<{ swept: { due?: number } }>(`select public.agent_sweep('{}') as swept`)
    if (Number(rows[0]?.swept.due ?? 0) === 0) return
    const body = '{}'
    const timestamp = String(Math.floor(Date.now() / 1000))
    const answer = await fetch(url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'x-agent-timestamp': timestamp,
        'x-agent-signature': createHmac('sha256', secret).update(`${timestamp}.${body}`).digest('hex'),
      },
      body,
      signal: AbortSignal.any([closing.signal, AbortSignal.timeout(60_000)]),
    })
    await answer.body?.cancel()
    if (!answer.ok) throw new Error(`the step function answered ${answer.status}`)
  }
  const timer = setInterval(() => {
    running ??= sweep()
      .then(() => {
        lastTrouble = ''
      })
      .catch((error: unknown) => {
        const trouble = error instanceof Error ? error.message : String(error)
        if (trouble !== lastTrouble && !closing.signal.aborted) log(`sweeper: ${trouble}`) // once, not every five seconds
        lastTrouble = trouble
      })
      .finally(() => {
        running = undefined
      })
  }, intervalMs)
  return {
    async close() {
      clearInterval(timer)
      closing.abort()
      await running
      await pool.end()
    },
  }
}
