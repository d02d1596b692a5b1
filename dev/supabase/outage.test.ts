import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { createProject } from '../postgres/create-project.ts'
import { startPostgres } from '../postgres/start-postgres.ts'
import { createSupabase } from './create-supabase.ts'

it('answers 503 at once while the database is away, and works again after it is back', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'agent-functions-outage-'))
  let server = await startPostgres({ dir: join(dir, 'postgres'), fsync: false })
  const { port } = server
  await createProject(server, 'project')
  const supabase = await createSupabase({
    databaseUrl: (role) => server.url(role, 'project'),
    storageDir: join(dir, 'storage'),
    keysFile: join(dir, 'keys.json'),
    origin: 'http://localhost',
  })
  const get = (path: string, method = 'GET') =>
    supabase.fetch(
      new Request(`http://localhost${path}`, {
        method,
        headers: { apikey: supabase.anonKey },
        ...(method === 'POST' ? { body: '{"email":"a@example.com","password":"correct horse"}' } : {}),
      }),
    )
  expect((await get('/storage/v1/bucket')).status).toBe(200)
  expect((await get('/rest/v1/nowhere')).status).toBe(404)
  await server.stop()
  const rest = await get('/rest/v1/nowhere')
  expect([rest.status, await rest.json()]).toMatchObject([503, { code: 'PGRST001' }])
  expect((await get('/storage/v1/bucket')).status).toBe(503)
  expect((await get('/auth/v1/token?grant_type=password', 'POST')).status).toBe(503)
  server = await startPostgres({ dir: join(dir, 'postgres'), fsync: false, port })
  expect((await get('/rest/v1/nowhere')).status).toBe(404)
  expect((await get('/auth/v1/token?grant_type=password', 'POST')).status).toBe(400)
  await supabase.close()
  await server.remove()
  await rm(dir, { recursive: true, force: true })
})
