import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { serve } from '@hono/node-server'
import pg from 'pg'
import { createProject } from '../../dev/postgres/create-project.ts'
import { migrate } from '../../dev/postgres/migrate.ts'
import { startPostgres } from '../../dev/postgres/start-postgres.ts'
import { createSupabase } from '../../dev/supabase/create-supabase.ts'
import { watchOver } from '../../dev/watchdog.ts'
import type { Project } from './bench.ts'

const MIGRATIONS = fileURLToPath(new URL('../../supabase/migrations', import.meta.url))

/** A Postgres of our own with `count` projects behind real faces, for a command that runs outside vitest. */
export async function ownProjects(
  count: number,
): Promise<{ projects: Project[]; close: () => Promise<void> }> {
  const dir = await mkdtemp(join(tmpdir(), 'agent-functions-crash-'))
  await chmod(dir, 0o711) // run by root, the server's own account must be able to walk through
  const server = await startPostgres({ dir, fsync: false })
  const watchdog = watchOver(server.pid)
  await createProject(server, 'template_crash')
  await migrate(server.url('postgres', 'template_crash'), MIGRATIONS)
  const admin = new pg.Client({ connectionString: server.superuserUrl })
  await admin.connect()
  const projects: Project[] = []
  for (let n = 0; n < count; n++) {
    await admin.query(`create database crash_${n} template template_crash owner postgres`)
    projects.push(await openProject((role) => server.url(role, `crash_${n}`), join(dir, `project-${n}`)))
  }
  await admin.end()
  return {
    projects,
    async close() {
      await server.remove()
      watchdog.dismiss()
      await rm(dir, { recursive: true, force: true })
    },
  }
}

async function openProject(databaseUrl: (role: string) => string, dir: string): Promise<Project> {
  let answer: (request: Request) => Response | Promise<Response> = () => new Response(null, { status: 503 })
  const { server, port } = await new Promise<{ server: ReturnType<typeof serve>; port: number }>(
    (resolve) => {
      const starting = serve(
        { fetch: (request) => answer(request), port: 0, hostname: '127.0.0.1' },
        (info) => resolve({ server: starting, port: info.port }),
      )
    },
  )
  const origin = `http://127.0.0.1:${port}`
  const supabase = await createSupabase({
    databaseUrl,
    storageDir: join(dir, 'storage'),
    keysFile: join(dir, 'keys.json'),
    origin,
  })
  answer = (request) => supabase.fetch(request)
  const owner = new pg.Pool({ connectionString: databaseUrl('postgres'), max: 4 })
  owner.on('error', () => {})
  return {
    origin,
    anonKey: supabase.anonKey,
    mintRoleToken: (claims) => supabase.mintRoleToken(claims),
    sql: async (text, values) => (await owner.query<Record<string, unknown>>(text, values)).rows,
    async close() {
      await new Promise((resolve) => server.close(resolve))
      await supabase.close()
      await owner.end()
    },
  }
}
