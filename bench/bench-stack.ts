import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createClient } from '@supabase/supabase-js'
import pg from 'pg'
import { startPostgres } from '../dev/postgres/start-postgres.ts'
import { type Stack, startStack } from '../dev/stack.ts'
import { PLAN } from './chain.ts'
import { type Provider, startProvider } from './provider.ts'

export interface BenchStack {
  stack: Stack
  provider: Provider
  /** A signed-in user's access token. */
  token: string
  /** Creates a run over HTTP; answers its id. */
  create(): Promise<string>
  sql<Row extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]>
  close(): Promise<void>
}

/** The whole local stack as `npm start` brings it up, on a database that waits for the disk, with a provider that answers at once. */
export async function openStack(
  root: string,
  { turns, settings }: { turns: number; settings: Record<string, string> },
): Promise<BenchStack> {
  const dir = await mkdtemp(join(tmpdir(), 'agent-functions-bench-stack-'))
  const provider = await startProvider(PLAN, turns)
  const stack = await startStack({
    root,
    dir,
    port: 0,
    fsync: true,
    // The only tool that is called is an inline one.
    unsafeTools: true,
    settings: {
      ANTHROPIC_API_KEY: 'bench',
      ANTHROPIC_BASE_URL: provider.url,
      AGENT_MODEL: 'bench',
      LOG_LEVEL: 'info',
      ...settings,
    },
  })
  const pool = new pg.Pool({ connectionString: stack.env.DATABASE_URL, max: 2 })
  pool.on('error', () => {})
  const supabase = createClient(stack.env.SUPABASE_URL, stack.env.SUPABASE_ANON_KEY, {
    auth: { persistSession: false, autoRefreshToken: false },
  })
  const { data, error } = await supabase.auth.signUp({
    email: 'bench@example.com',
    password: 'correct horse battery',
  })
  if (error !== null || data.session === null) throw error ?? new Error('no session')
  const token = data.session.access_token
  return {
    stack,
    provider,
    token,
    async create() {
      const answer = await fetch(`${stack.origin}/agent/execute`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        body: JSON.stringify({ action: 'create', prompt: 'please' }),
      })
      const body = (await answer.json()) as { run_id?: string }
      if (body.run_id === undefined) throw new Error(`execute answered ${answer.status}`)
      return body.run_id
    },
    sql: async <Row extends pg.QueryResultRow>(text: string, values?: unknown[]) =>
      (await pool.query<Row>(text, values)).rows,
    async close() {
      await pool.end()
      await stack.close()
      await provider.close()
      const postgres = await startPostgres({ dir: join(dir, 'postgres') })
      await postgres.remove()
      await rm(dir, { recursive: true, force: true })
    },
  }
}
