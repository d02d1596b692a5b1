import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { LOGIN_ROLES } from '../dev/postgres/create-project.ts'
import { SUPERUSER, startPostgres } from '../dev/postgres/start-postgres.ts'

/** One Postgres for a whole vitest run, in a directory of its own and on a free port: safe beside a running stack. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const dir = await mkdtemp(join(tmpdir(), 'agent-functions-test-'))
  const server = await startPostgres({ dir, fsync: false })
  const roles = [SUPERUSER, ...LOGIN_ROLES]
  project.provide('postgres', {
    port: server.port,
    passwords: Object.fromEntries(roles.map((role) => [role, server.password(role)])),
  })
  return async () => {
    await server.stop()
    await server.remove()
    await rm(dir, { recursive: true, force: true })
  }
}
