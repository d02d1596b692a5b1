import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import { noSuchKey, StorageError } from './errors.ts'
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

const MAX_LIFETIME_SECONDS = 10 * 365 * 24 * 3600
/** Seconds a signed upload URL is valid, as on hosted projects. */
const UPLOAD_SECONDS = 2 * 3600

const expiresIn = z.number().int().min(1).max(MAX_LIFETIME_SECONDS)
export const signRequest = z.object({ expiresIn })
export const signManyRequest = z.object({ expiresIn, paths: z.array(z.string()).min(1).max(500) })

/** A URL (relative to /storage/v1) that anybody may read the object with until it expires. */
async function signedUrl(
  face: StorageFace,
  bucket: string,
  name: string,
  lifetimeSeconds: number,
): Promise<string> {
  const token = await face.signer.sign({ url: `${bucket}/${name}`, use: 'read' }, lifetimeSeconds)
  return `/object/sign/${bucket}/${name}?token=${token}`
}

export async function signOne(
  face: StorageFace,
  caller: StorageCaller,
  bucket: string,
  name: string,
  lifetimeSeconds: number,
): Promise<{ signedURL: string }> {
  const found = await asCaller(face, caller, (query) => findObject(query, bucket, name))
  if (found === null) throw noSuchKey()
  return { signedURL: await signedUrl(face, bucket, name, lifetimeSeconds) }
}

export async function signMany(
  face: StorageFace,
  caller: StorageCaller,
  bucket: string,
  given: z.infer<typeof signManyRequest>,
): Promise<{ error: string | null; path: string; signedURL: string | null }[]> {
  const { rows } = await asCaller(face, caller, (query) =>
    query<{ name: string }>('select name from storage.objects where bucket_id = $1 and name = any($2)', [
      bucket,
      given.paths,
    ]),
  )
  const readable = new Set(rows.map((row) => row.name))
  return await Promise.all(
    given.paths.map(async (path) => {
      if (!readable.has(path)) {
        return {
          error: 'Either the object does not exist or you do not have access to it',
          path,
          signedURL: null,
        }
      }
      return { error: null, path, signedURL: await signedUrl(face, bucket, path, given.expiresIn) }
    }),
  )
}

/** The object that a signed URL names. The token was made for exactly this path; no other right is needed. */
export async function openSigned(
  face: StorageFace,
  bucket: string,
  name: string,
  token: string,
): Promise<ObjectRow> {
  const claims = await face.signer.verify(token)
  if (claims.use !== 'read' || claims.url !== `${bucket}/${name}`) throw invalidSignature()
  const row = await asOwner(face, (query) => findObject(query, bucket, name))
  if (row === null) throw noSuchKey()
  return row
}

/** A URL to upload one object with; asks the policies now, by an insert that is rolled back. */
export async function signUpload(
  face: StorageFace,
  caller: StorageCaller,
  bucket: string,
  name: string,
  upsert: boolean,
): Promise<{ url: string; token: string }> {
  const owner = subjectOf(caller)
  const conflict = upsert ? 'on conflict (bucket_id, name) do update set updated_at = now()' : ''
  await asCaller(
    face,
    caller,
    (query) =>
      query(
        `insert into storage.objects (id, bucket_id, name, owner_id) values ($1, $2, $3, $4) ${conflict}`,
        [randomUUID(), bucket, checkKey(name), owner],
      ),
    { rollback: true },
  )
  const token = await face.signer.sign(
    { url: `${bucket}/${name}`, use: 'upload', owner, upsert },
    UPLOAD_SECONDS,
  )
  return { url: `/object/upload/sign/${bucket}/${name}?token=${token}`, token }
}

export async function openUpload(
  face: StorageFace,
  bucket: string,
  name: string,
  token: string,
): Promise<{ owner: string | null; upsert: boolean }> {
  const claims = await face.signer.verify(token)
  if (claims.use !== 'upload' || claims.url !== `${bucket}/${name}`) throw invalidSignature()
  return { owner: typeof claims.owner === 'string' ? claims.owner : null, upsert: claims.upsert === true }
}

function invalidSignature(): StorageError {
  return new StorageError(400, 'InvalidSignature', 'Invalid signature')
}
