import type { BigIntStats } from 'node:fs'
import { chmod, lstat, readdir, realpath } from 'node:fs/promises'
import { join, sep } from 'node:path'
import type { JobLimits } from '../contract/job.ts'
import { workspacePathFault } from '../contract/workspace-path.ts'
import { FOLDER_DEPTH } from './limits.ts'
import { Refusal } from './refusal.ts'

export interface FoundFile {
  /** Workspace path. */
  path: string
  /** On the disk; differs from the path for a link or a name that is not NFC. */
  real: string
  size: number
  mode: 0o644 | 0o755
}

/** What interpreters and test tools leave behind: never kept, never removed from the manifest. */
const NOISE = new Set(['__pycache__', '.pytest_cache', '.mypy_cache', '.ruff_cache', '.ipynb_checkpoints'])

export function isNoise(path: string): boolean {
  const parts = path.split('/')
  return parts.some(
    (part, index) => NOISE.has(part) || (part === '.cache' && parts[index - 1] === 'node_modules'),
  )
}

/**
 * Lists the regular files of a workspace after the tool is gone. Rejects with a Refusal for what a manifest cannot hold or must
 * not: links to the outside or to folders, sockets, pipes and devices, hard links from outside, bad names, too much of it.
 */
export async function scanWorkspace(workspace: string, limits: JobLimits): Promise<FoundFile[]> {
  const root = await realpath(workspace)
  const files = new Map<string, FoundFile>()
  const links = new Map<bigint, { count: number; wanted: bigint; path: string }>()
  let bytes = 0

  const add = (path: string, real: string, stats: BigIntStats): void => {
    if (files.has(path)) throw new Refusal(`two files are named "${path}" (in different Unicode forms)`)
    const size = Number(stats.size)
    if (size > limits.file_bytes)
      throw new Refusal(`"${path}" has ${size} bytes, ${limits.file_bytes} are allowed for a file`)
    bytes += size
    if (bytes > limits.workspace_bytes)
      throw new Refusal(`the files have more than the ${limits.workspace_bytes} bytes allowed`)
    if (files.size >= limits.workspace_files)
      throw new Refusal(`there are more than the ${limits.workspace_files} files allowed`)
    files.set(path, { path, real, size, mode: stats.mode & 0o100n ? 0o755 : 0o644 })
  }

  const walk = async (folder: string, prefix: string, depth: number): Promise<void> => {
    if (depth > FOLDER_DEPTH) throw new Refusal(`there are folders more than ${FOLDER_DEPTH} deep`)
    for (const name of await listFolder(folder)) {
      const path = checkedPath(prefix, name)
      if (isNoise(path)) continue
      const real = join(folder, name.toString('utf8'))
      const stats = await lstat(real, { bigint: true })
      if (stats.isDirectory()) await walk(real, `${path}/`, depth + 1)
      else if (stats.isSymbolicLink()) await follow(path, real)
      else if (!stats.isFile())
        throw new Refusal(`"${path}" is not a regular file (a pipe, socket or device)`)
      else {
        if (stats.nlink > 1n) {
          const known = links.get(stats.ino)
          links.set(stats.ino, { count: (known?.count ?? 0) + 1, wanted: stats.nlink, path })
        }
        add(path, real, stats)
      }
    }
  }

  const follow = async (path: string, real: string): Promise<void> => {
    const target = await realpath(real).catch(() => undefined)
    if (target === undefined) throw new Refusal(`"${path}" is a symbolic link that leads nowhere`)
    if (!target.startsWith(root + sep))
      throw new Refusal(`"${path}" is a symbolic link that leads out of the workspace`)
    const stats = await lstat(target, { bigint: true })
    if (!stats.isFile()) throw new Refusal(`"${path}" is a symbolic link to something that is not a file`)
    add(path, target, stats)
  }

  await walk(root, '', 0)
  for (const { count, wanted, path } of links.values()) {
    if (BigInt(count) < wanted)
      throw new Refusal(`"${path}" is a hard link to a file outside of the workspace`)
  }
  return [...files.values()]
}

function checkedPath(prefix: string, name: Buffer): string {
  const text = name.toString('utf8')
  const shown = JSON.stringify((prefix + text).slice(0, 200))
  if (!Buffer.from(text, 'utf8').equals(name)) throw new Refusal(`the file name ${shown} is not UTF-8`)
  const path = prefix + text.normalize('NFC')
  const fault = workspacePathFault(path)
  if (fault) throw new Refusal(`the path ${shown} ${fault}`)
  return path
}

/** A folder or file that its owner may not read is made readable: it belongs to the tool, and the tool is gone. */
async function listFolder(folder: string): Promise<Buffer[]> {
  try {
    return await readdir(folder, { encoding: 'buffer' })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EACCES') throw error
    await chmod(folder, 0o700)
    return await readdir(folder, { encoding: 'buffer' })
  }
}

/**
 * Adds up a workspace while the tool writes to it. Stops counting at the limits; a file that vanishes meanwhile counts nothing.
 * Answers what is exceeded.
 */
export async function measureWorkspace(workspace: string, limits: JobLimits): Promise<string | undefined> {
  let bytes = 0
  let entries = 0
  const folders = [workspace]
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    for (const entry of await readdir(folder, { withFileTypes: true }).catch(() => [])) {
      entries += 1
      const path = join(folder, entry.name)
      if (entry.isDirectory()) folders.push(path)
      // Blocks and not size: a sparse file takes no disk, scanWorkspace still counts its size.
      else
        bytes += await lstat(path)
          .then((stats) => stats.blocks * 512)
          .catch(() => 0)
      // Twice the files: folders and noise count here but are not kept.
      if (bytes > limits.workspace_bytes * 1.25)
        return `the tool wrote more than the ${limits.workspace_bytes} bytes allowed`
      if (entries > limits.workspace_files * 2 + 1000)
        return `the tool made more than the ${limits.workspace_files} files allowed`
    }
  }
  return undefined
}
