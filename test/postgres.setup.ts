import { existsSync } from 'node:fs'
import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { LOGIN_ROLES } from '../dev/postgres/create-project.ts'
import { livingOwner, stopLeftover } from '../dev/postgres/postmaster.ts'
import { SUPERUSER, startPostgres } from '../dev/postgres/start-postgres.ts'

const PREFIX = 'agent-functions-test-'

/** One Postgres for a whole vitest run, in a directory of its own and on a free port: safe beside a running stack. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  await sweep()
  const dir = await mkdtemp(join(tmpdir(), PREFIX))
  // Run by root, the server's own account must be able to walk through.
  await chmod(dir, 0o711)
  const server = await startPostgres({ dir, fsync: false })
  const roles = [SUPERUSER, ...LOGIN_ROLES]
  project.provide('postgres', {
    port: server.port,
    passwords: Object.fromEntries(roles.map((role) => [role, server.password(role)])),
  })
  return async () => {
    await server.remove()
    await rm(dir, { recursive: true, force: true })
  }
}

/** Stops and removes the servers of runs that were killed: nobody starts in their directories again. */
async function sweep(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const dir = join(tmpdir(), name)
    const owner = join(dir, 'owner')
    // Without the file a run is only just beginning.
    if (!name.startsWith(PREFIX) || !existsSync(owner) || (await livingOwner(owner)) !== null) continue
    await stopLeftover(join(dir, 'data'))
    await rm(dir, { recursive: true, force: true })
  }
}
