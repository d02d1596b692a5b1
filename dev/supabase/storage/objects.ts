import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import { noSuchBucket, noSuchKey } from './errors.ts'
import {
  asCaller,
  asOwner,
  findObject,
  type ObjectRow,
  type StorageCaller,
  type StorageFace,
} from './face.ts'
import { checkKey } from './names.ts'
import { subjectOf } from './upload.ts'

export const removeRequest = z.object({
  prefixes: z
    .array(z.union([z.string(), z.object({ path: z.string() })]))
    .min(1)
    .max(1000),
})

export const moveRequest = z.object({
  bucketId: z.string(),
  sourceKey: z.string(),
  destinationKey: z.string(),
  destinationBucket: z.string().nullish(),
})

/** Deletes what the caller's policies let go; names that are not there are left out of the answer. */
export async function removeObjects(
  face: StorageFace,
  caller: StorageCaller,
  bucket: string,
  names: string[],
): Promise<ObjectRow[]> {
  const { rows } = await asCaller(face, caller, (query) =>
    query<ObjectRow>(
      `delete from storage.objects where bucket_id = $1 and name = any($2)
       returning id, bucket_id, name, owner, owner_id, created_at, updated_at, last_accessed_at, metadata, user_metadata, version`,
      [bucket, names],
    ),
  )
  await face.disk.remove(rows.map((row) => row.version))
  return rows
}

export async function moveObject(
  face: StorageFace,
  caller: StorageCaller,
  given: z.infer<typeof moveRequest>,
): Promise<void> {
  const target = given.destinationBucket ?? given.bucketId
  await checkBucket(face, target)
  await asCaller(face, caller, async (query) => {
    // The bytes are filed under a version, so only the row moves.
    const { rowCount } = await query(
      `update storage.objects set bucket_id = $3, name = $4, updated_at = now() where bucket_id = $1 and name = $2`,
      [given.bucketId, given.sourceKey, target, checkKey(given.destinationKey)],
    )
    if (rowCount === 0) throw noSuchKey()
  })
}

/** Needs the right to read the source and to write the destination. */
export async function copyObject(
  face: StorageFace,
  caller: StorageCaller,
  given: z.infer<typeof moveRequest>,
  upsert: boolean,
): Promise<{ Id: string; Key: string }> {
  const bucket = given.destinationBucket ?? given.bucketId
  const name = checkKey(given.destinationKey)
  await checkBucket(face, bucket)
  const source = await asCaller(face, caller, (query) => findObject(query, given.bucketId, given.sourceKey))
  if (source === null || source.version === null) throw noSuchKey()
  const version = await face.disk.copy(source.version)
  const id = randomUUID()
  const owner = subjectOf(caller)
  const update =
    'on conflict (bucket_id, name) do update set owner_id = excluded.owner_id, metadata = excluded.metadata, user_metadata = excluded.user_metadata, version = excluded.version, updated_at = now()'
  try {
    const previous = await asCaller(face, caller, async (query) => {
      const existing = upsert ? await findObject(query, bucket, name) : null
      await query(
        `insert into storage.objects (id, bucket_id, name, owner_id, metadata, user_metadata, version)
         values ($1, $2, $3, $4, $5, $6, $7) ${upsert ? update : ''}`,
        [id, bucket, name, owner, source.metadata, source.user_metadata, version],
      )
      return existing?.version ?? null
    })
    await face.disk.remove([previous])
    return { Id: id, Key: `${bucket}/${name}` }
  } catch (error) {
    await face.disk.remove([version])
    throw error
  }
}

async function checkBucket(face: StorageFace, id: string): Promise<void> {
  const { rowCount } = await asOwner(face, (query) =>
    query('select from storage.buckets where id = $1', [id]),
  )
  if (rowCount === 0) throw noSuchBucket()
}
