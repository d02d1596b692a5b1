import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createClient, type SupabaseClient } from '@supabase/supabase-js'
import pg from 'pg'
import { startPostgres } from '../../dev/postgres/start-postgres.ts'
import { type Stack, type StackOptions, startStack } from '../../dev/stack.ts'
import type { RunRow, StepRow } from '../../shared/contract/rows.ts'

export const ROOT = resolve(import.meta.dirname, '../..')
const INVARIANTS = readFileSync(join(ROOT, 'supabase/invariants.sql'), 'utf8')

/** A stack of its own in a temporary folder: real processes from zero, real Postgres, tools in the sandbox of this machine. */
export async function systemStack(over: Partial<StackOptions> = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'agent-functions-system-'))
  const options: StackOptions = {
    root: ROOT,
    dir,
    port: 0,
    settings: { STEP_LEASE_SECONDS: '3' },
    sweepIntervalMs: 500,
    tokensPerSecond: Number.POSITIVE_INFINITY,
    fsync: false,
    ...over,
  }
  let stack: Stack = await startStack(options)
  const query = async <T extends pg.QueryResultRow>(text: string, values: unknown[] = []): Promise<T[]> => {
    const client = new pg.Client({ connectionString: stack.env.DATABASE_URL })
    client.on('error', () => {}) // the database may be killed under it; the query rejects
    await client.connect()
    try {
      return (await client.query<T>(text, values)).rows
    } finally {
      await client.end()
    }
  }
  return {
    dir,
    stack: () => stack,
    query,
    violations: () => query(INVARIANTS),
    async restart(): Promise<void> {
      const port = Number(new URL(stack.origin).port)
      await stack.close()
      stack = await startStack({ ...options, port })
    },
    async close(): Promise<void> {
      await stack.close()
      const postgres = await startPostgres({ dir: join(dir, 'postgres') })
      await postgres.remove()
      rmSync(dir, { recursive: true, force: true })
    },
    /** A new user with an unmodified supabase-js client. */
    async user(name: string): Promise<User> {
      const supabase = createClient(stack.env.SUPABASE_URL, stack.env.SUPABASE_ANON_KEY, {
        auth: { persistSession: false, autoRefreshToken: false },
      })
      const { data, error } = await supabase.auth.signUp({
        email: `${name}@example.com`,
        password: 'correct horse battery',
      })
      if (error !== null || data.session === null) throw error ?? new Error('no session')
      return { supabase, id: data.session.user.id, token: data.session.access_token }
    },
  }
}
export type SystemStack = Awaited<ReturnType<typeof systemStack>>

export interface User {
  supabase: SupabaseClient
  id: string
  token: string
}

/** Creates a run as the oldest front ends do: supabase.functions.invoke. */
export async function createRun({ supabase }: User, body: Record<string, unknown>): Promise<string> {
  const { data, error } = await supabase.functions.invoke<{ run_id: string }>('agent-execute', {
    body: { action: 'create', ...body },
  })
  if (error !== null || data === null) throw error
  return data.run_id
}

/** Uploads a file as a front end does; the answer is what `attachments` takes. */
export async function upload(
  { supabase, id }: User,
  name: string,
  content: Uint8Array<ArrayBuffer>,
): Promise<{ bucket: string; path: string }> {
  const path = `${id}/${name}`
  const { error } = await supabase.storage.from('agent-inputs').upload(path, content)
  if (error !== null) throw error
  return { bucket: 'agent-inputs', path }
}

export interface Snapshot {
  run: RunRow
  steps: StepRow[]
  artifacts: { filename: string; download_url: string }[]
  messages: { role: string; content: string }[]
}

/** status through the public URL; null while it cannot be had (a function was killed under it). */
export async function statusOf({ supabase }: User, runId: string): Promise<Snapshot | null> {
  const { data } = await supabase.functions.invoke<Snapshot>('agent-status', {
    body: { run_id: runId, steps_limit: 500 },
  })
  return data
}

export async function untilStatus(
  user: User,
  runId: string,
  wanted: string,
  timeoutMs = 60_000,
): Promise<Snapshot> {
  const end = Date.now() + timeoutMs
  let last: Snapshot | null = null
  while (Date.now() < end) {
    last = (await statusOf(user, runId)) ?? last
    if (last?.run.status === wanted) return last
    if (['completed', 'failed', 'cancelled', 'timeout'].includes(last?.run.status ?? '')) break
    await new Promise((resolve) => setTimeout(resolve, 150))
  }
  throw new Error(
    `run ${runId} is ${last?.run.status} (${last?.run.error_code} ${last?.run.error_message}), not ${wanted}`,
  )
}
