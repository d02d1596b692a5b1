import { AppError } from '../../../core/errors.ts'
import type { StoredObject } from '../../../ports/store.ts'
import { DAY, type Database, type RemovableObject, SECOND, type Tables } from './tables.ts'

const WORKSPACES = 'agent-workspaces'
/** A job may run for 24 hours, and one that has found its bytes in Storage already may still name them when it ends. */
const BLOBS_KEPT_FOR = DAY + 3600 * SECOND
/** So that a file whose upload found the old bytes still there is refused and uploaded again. */
const LISTED_AFTER_REMOVAL = 600 * SECOND
const HANDED_AGAIN_AFTER = 60 * SECOND
const MAX_LOOKED_AT = 1000

const keyOf = ({ bucket, name }: StoredObject): string => `${bucket}/${name}`
const blobOf = (userId: string, sha256: string): StoredObject => ({
  bucket: WORKSPACES,
  name: `${userId}/${sha256}`,
})

/** Lists an object for removal, unless it is listed already. */
function list({ objectsToRemove }: Tables, object: StoredObject, notBefore: number): void {
  if (objectsToRemove.has(keyOf(object))) return
  objectsToRemove.set(keyOf(object), { ...object, not_before: notBefore, handed_at: null, removed_at: null })
}

export const listBlob = (db: Database, userId: string, sha256: string): void =>
  list(db.tables, blobOf(userId, sha256), db.now() + BLOBS_KEPT_FOR)

export const listArtifact = (db: Database, object: StoredObject): void => list(db.tables, object, db.now())

/** Refuses bytes that are just being removed: they cannot be used until they are gone and uploaded again. */
export function assertKept({ objectsToRemove }: Tables, userId: string, hashes: Iterable<string>): void {
  for (const sha256 of hashes)
    if ((objectsToRemove.get(keyOf(blobOf(userId, sha256)))?.handed_at ?? null) !== null)
      throw new AppError('unavailable', 'A file of the same content is being removed')
}

/** private.keep_blob: bytes that are in use (again) are not removed. All of them, or none. */
export function keepBlobs(tables: Tables, userId: string, hashes: readonly string[]): void {
  if (tables.objectsToRemove.size === 0) return
  assertKept(tables, userId, hashes)
  for (const sha256 of hashes) tables.objectsToRemove.delete(keyOf(blobOf(userId, sha256)))
}

/** Whether a file of one of the user's runs, now or earlier, has these bytes. */
export function isInUse({ runs }: Tables, { bucket, name }: StoredObject): boolean {
  if (bucket !== WORKSPACES) return false
  const [userId, sha256] = name.split('/')
  for (const { run, files } of runs.values())
    if (run.user_id === userId && files.some((file) => file.sha256 === sha256)) return true
  return false
}

/** private.objects_due */
export function objectsDue({ objectsToRemove }: Tables, now: number, limit: number): RemovableObject[] {
  return [...objectsToRemove.values()]
    .filter(
      ({ removed_at, not_before, handed_at }) =>
        removed_at === null &&
        not_before <= now &&
        (handed_at === null || handed_at < now - HANDED_AGAIN_AFTER),
    )
    .sort((a, b) => a.not_before - b.not_before)
    .slice(0, limit)
}

/** What agent_sweep does for the list; answers how many of it are due. */
export function sweepObjects({ tables }: Database, now: number): number {
  const { objectsToRemove } = tables
  for (const [key, object] of objectsToRemove) {
    const { removed_at, handed_at, not_before } = object
    const forgotten = removed_at !== null && removed_at < now - LISTED_AFTER_REMOVAL
    // a commit that was on its way when its blob was listed was not seen by the delete, nor the list by the commit
    const kept = handed_at === null && not_before <= now && isInUse(tables, object)
    if (forgotten || kept) objectsToRemove.delete(key)
  }
  return objectsDue(tables, now, MAX_LOOKED_AT).length
}

export function handOutObjects({ tables }: Database, now: number, limit: number): StoredObject[] {
  return objectsDue(tables, now, limit).map((object) => {
    object.handed_at = now
    return { bucket: object.bucket, name: object.name }
  })
}

/** agent_objects_removed */
export function objectsRemoved({ tables, now }: Database, objects: readonly StoredObject[]): void {
  for (const each of objects) {
    const object = tables.objectsToRemove.get(keyOf(each))
    if (object !== undefined && object.handed_at !== null) object.removed_at = now()
  }
}
