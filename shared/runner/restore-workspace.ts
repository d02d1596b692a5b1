import { createHash } from 'node:crypto'
import { chmod, chown, lstat, mkdir, readdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { JobFile } from '../contract/job.ts'
import type { Identity } from './box.ts'
import { type Door, DoorError } from './door.ts'
import { eachLimited } from './each-limited.ts'
import { TRANSFER_CONCURRENCY } from './limits.ts'
import { Refusal } from './refusal.ts'

/** How a file stood on the disk when the tool started; the change time is the kernel's and no tool can set it. */
export interface RestoredFile extends JobFile {
  stamp: string
}

export async function stampOf(path: string): Promise<string> {
  const { ino, ctimeNs, size } = await lstat(path, { bigint: true })
  return `${ino}:${ctimeNs}:${size}`
}

/** A damaged answer (a proxy, a cut connection) heals when asked again; a damaged blob does not. */
const TRIES = 3

/**
 * Puts the manifest's files into an empty workspace, each verified by its hash, and hands everything to the tool's user.
 * Rejects with a Refusal when a file is gone or not what the manifest says.
 */
export async function restoreWorkspace(options: {
  door: Pick<Door, 'getBlob'>
  workspace: string
  files: readonly JobFile[]
  identity: Identity | undefined
  signal: AbortSignal
}): Promise<Map<string, RestoredFile>> {
  const { workspace, files, identity, signal } = options
  for (const folder of ['inputs', 'outputs']) await mkdir(join(workspace, folder), { recursive: true })
  for (const folder of new Set(files.map((file) => dirname(file.path)))) {
    await mkdir(join(workspace, folder), { recursive: true })
  }
  const abort = new AbortController()
  await eachLimited(files, TRANSFER_CONCURRENCY, async (file) => {
    try {
      const bytes = await fetchVerified(options.door, file, AbortSignal.any([signal, abort.signal]))
      const path = join(workspace, file.path)
      await writeFile(path, bytes, { flag: 'wx' })
      await chmod(path, file.mode & 0o111 ? 0o755 : 0o644)
    } catch (error) {
      abort.abort()
      throw error
    }
  })
  if (identity) await giveTo(workspace, identity)
  const restored = new Map<string, RestoredFile>()
  for (const file of files)
    restored.set(file.path, { ...file, stamp: await stampOf(join(workspace, file.path)) })
  return restored
}

async function fetchVerified(
  door: Pick<Door, 'getBlob'>,
  file: JobFile,
  signal: AbortSignal,
): Promise<Buffer> {
  let fault = ''
  for (let attempt = 0; attempt < TRIES; attempt += 1) {
    let bytes: Buffer
    try {
      bytes = await door.getBlob(file.sha256, file.size, signal)
    } catch (error) {
      if (!(error instanceof DoorError) || error.status >= 500) throw error
      fault = error.message
      if (error.status !== 200) break
      continue
    }
    if (createHash('sha256').update(bytes).digest('hex') === file.sha256) return bytes
    fault = `got ${bytes.byteLength} bytes with another hash`
  }
  throw new Refusal(`the workspace file "${file.path}" could not be restored: ${fault}`)
}

async function giveTo(directory: string, identity: Identity): Promise<void> {
  await chown(directory, identity.uid, identity.gid)
  for (const entry of await readdir(directory, { withFileTypes: true, recursive: true })) {
    await chown(join(entry.parentPath, entry.name), identity.uid, identity.gid)
  }
}
