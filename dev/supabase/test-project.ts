import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { serve } from '@hono/node-server'
import { createClient, type SupabaseClient } from '@supabase/supabase-js'
import { Hono } from 'hono'
import pg from 'pg'
import { type TestDatabase, testDatabase } from '../postgres/test-database.ts'
import { createSupabase, type Supabase, type SupabaseOptions } from './create-supabase.ts'

/** What a project is closed with: tests that broke an invariant on purpose say so. */
type Closing = Parameters<TestDatabase['drop']>[0]

/** A whole project on a free loopback port over a database of its own, for tests of the faces. */
export interface TestProject extends Omit<Supabase, 'close'> {
  close(options?: Closing): Promise<void>
  origin: string
  database: TestDatabase
  dir: string
  /** Runs SQL as `postgres`, the owner of migrations. */
  sql<Row extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]>
  /** An unmodified supabase-js client; with a token it acts as that token's user. */
  client(token?: string): SupabaseClient
  /** A signed-up user and a client signed in as them. */
  user(email: string): Promise<{ client: SupabaseClient; id: string; token: string }>
}

export async function testProject(
  migration: string,
  {
    template = 'project',
    ...options
  }: Partial<Omit<SupabaseOptions, 'databaseUrl' | 'origin'>> & { template?: 'migrated' | 'project' } = {},
): Promise<TestProject> {
  const database = await testDatabase(template)
  const dir = await mkdtemp(join(tmpdir(), 'agent-functions-supabase-'))
  const owner = new pg.Pool({ connectionString: database.url('postgres'), max: 4 })
  owner.on('error', () => {})
  await owner.query(migration)
  const root = new Hono()
  const { server, port } = await new Promise<{ server: ReturnType<typeof serve>; port: number }>(
    (resolve) => {
      // idle connections outlive every client's: none is closed at the moment it is used again
      const serverOptions = { keepAliveTimeout: 600_000 }
      const starting = serve({ fetch: root.fetch, port: 0, hostname: '127.0.0.1', serverOptions }, (info) =>
        resolve({ server: starting, port: info.port }),
      )
    },
  )
  const origin = `http://127.0.0.1:${port}`
  const supabase = await createSupabase({
    databaseUrl: (role) => database.url(role),
    storageDir: join(dir, 'storage'),
    keysFile: join(dir, 'keys.json'),
    origin,
    ...options,
  })
  root.route('/', supabase.app)
  const client = (token?: string) =>
    createClient(origin, supabase.anonKey, {
      auth: { persistSession: false, autoRefreshToken: false, detectSessionInUrl: false },
      ...(token === undefined ? {} : { accessToken: async () => token }),
    })
  return {
    ...supabase,
    origin,
    database,
    dir,
    client,
    sql: async <Row extends pg.QueryResultRow>(text: string, values?: unknown[]) =>
      (await owner.query<Row>(text, values)).rows,
    user: async (email) => {
      const signedIn = client()
      const { data, error } = await signedIn.auth.signUp({ email, password: 'correct horse' })
      if (error !== null || data.user === null || data.session === null)
        throw error ?? new Error('No session')
      return { client: signedIn, id: data.user.id, token: data.session.access_token }
    },
    close: async (closing) => {
      await new Promise((resolve) => server.close(resolve))
      await supabase.close()
      await owner.end()
      await rm(dir, { recursive: true, force: true })
      await database.drop(closing)
    },
  }
}
