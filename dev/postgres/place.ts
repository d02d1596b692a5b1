import { createHash, randomBytes } from 'node:crypto'
import { chown, lstat, mkdir, readFile, rename, statfs, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { canReach, type OsUser, sharedTemporaryDir } from './os-user.ts'

/** Where a server keeps its things. */
export interface Place {
  /** The data directory (PGDATA), mode 0700, of the account that runs Postgres. */
  data: string
  /** Home of the other files: log, owner. */
  home: string
  /** Random hex from which the passwords of all roles are derived; kept in `<home>/secret`, mode 0600. */
  secret: string
}

// A fresh cluster takes 40 MB, its log files (WAL) up to 160 MB more with the settings we start it with.
const MIN_FREE_BYTES = 256 * 1024 * 1024

/**
 * Makes the directories for a server of `dir`. Its data lies in `<dir>/data`, unless we are root and `dir` is below a
 * directory that the account of Postgres cannot walk through (a clone in /root): then in
 * `/var/tmp/agent-functions-<hash of dir>/data`.
 */
export async function preparePlace(dir: string, user: OsUser | null): Promise<Place> {
  const asked = resolve(dir)
  await mkdir(asked, { recursive: true })
  const home = canReach(user, join(asked, 'data')) ? asked : await fallbackHome(asked)
  const data = join(home, 'data')
  await mkdir(data, { recursive: true, mode: 0o700 })
  if (user !== null) await chown(data, user.uid, user.gid)
  await checkRoom(data)
  return { data, home, secret: await readSecret(join(home, 'secret')) }
}

async function fallbackHome(asked: string): Promise<string> {
  const key = createHash('sha256').update(asked).digest('hex').slice(0, 16)
  const home = join(sharedTemporaryDir(), `agent-functions-${key}`)
  await mkdir(home, { mode: 0o711 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error
  })
  // Anybody may create names in /var/tmp: data goes only into a directory that root made.
  const stat = await lstat(home)
  if (!stat.isDirectory() || stat.uid !== process.getuid?.() || (stat.mode & 0o022) !== 0) {
    throw new Error(`${home} is there but was not made by this user: remove it.`)
  }
  return home
}

async function checkRoom(path: string): Promise<void> {
  const { bavail, bsize } = await statfs(path)
  const free = bavail * bsize
  if (free >= MIN_FREE_BYTES) return
  const megabytes = (bytes: number) => Math.floor(bytes / 1024 / 1024)
  throw new Error(
    `No room for the database: ${path} has ${megabytes(free)} MB free and needs ${megabytes(MIN_FREE_BYTES)} MB.`,
  )
}

async function readSecret(file: string): Promise<string> {
  const found = await readFile(file, 'utf8').catch(() => null)
  if (found !== null && /^[0-9a-f]{64}\s*$/.test(found)) return found.trim()
  const secret = randomBytes(32).toString('hex')
  const making = `${file}.${process.pid}`
  await writeFile(making, secret, { mode: 0o600 })
  await rename(making, file)
  return secret
}
