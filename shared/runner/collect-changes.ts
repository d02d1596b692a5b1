import { createHash } from 'node:crypto'
import { chmod } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import type { JobLimits, JobPut } from '../contract/job.ts'
import { type Door, DoorError } from './door.ts'
import { eachLimited } from './each-limited.ts'
import { TRANSFER_CONCURRENCY } from './limits.ts'
import { readFileStream } from './read-file-stream.ts'
import { Refusal } from './refusal.ts'
import { type RestoredFile, stampOf } from './restore-workspace.ts'
import { isNoise, scanWorkspace } from './scan-workspace.ts'

export interface Changes {
  put: JobPut[]
  removed: string[]
}

/** Finds what the tool changed and uploads it; untouched files are not even read. Rejects with a Refusal (scan-workspace.ts). */
export async function collectChanges(options: {
  door: Pick<Door, 'putBlob'>
  workspace: string
  restored: ReadonlyMap<string, RestoredFile>
  limits: JobLimits
  signal: AbortSignal
}): Promise<Changes> {
  const { door, workspace, restored, limits, signal } = options
  const found = await scanWorkspace(workspace, limits)
  const paths = new Set(found.map((file) => file.path))
  const removed = [...restored.keys()].filter((path) => !paths.has(path) && !isNoise(path)).toSorted(byName)
  const put: JobPut[] = []
  const receipts = new Map<string, Promise<string>>()
  await eachLimited(found, TRANSFER_CONCURRENCY, async ({ path, real, size, mode }) => {
    const before = restored.get(path)
    const sameMode = before !== undefined && Boolean(before.mode & 0o111) === (mode === 0o755)
    if (before && sameMode && before.stamp === (await stampOf(real))) return
    const sha256 = await hashFile(real)
    if (before && sameMode && before.sha256 === sha256) return
    // Equal bytes under two names travel once.
    const receipt = receipts.get(sha256) ?? upload(door, { path: real, sha256, size }, path, signal)
    receipts.set(sha256, receipt)
    put.push({ path, sha256, size, mode, receipt: await receipt })
  })
  // In order, so that a repeated collection of the same workspace gives the same result.
  put.sort((a, b) => byName(a.path, b.path))
  return { put, removed }
}

async function upload(
  door: Pick<Door, 'putBlob'>,
  file: { path: string; sha256: string; size: number },
  path: string,
  signal: AbortSignal,
): Promise<string> {
  try {
    return await door.putBlob(file, signal)
  } catch (error) {
    // Final by its status: the owner learns which file it was.
    if (error instanceof DoorError && [400, 413, 422].includes(error.status)) {
      throw new Refusal(`the file "${path}" was not accepted: ${error.message}`)
    }
    throw error
  }
}

async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256')
  try {
    await pipeline(await readFileStream(path), hash)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EACCES') throw error
    await chmod(path, 0o600)
    await pipeline(await readFileStream(path), hash)
  }
  return hash.digest('hex')
}

const byName = (a: string, b: string): number => (a < b ? -1 : 1)
