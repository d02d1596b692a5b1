import { randomUUID } from 'node:crypto'
import type { Query } from '../transact.ts'
import type { StoredBytes } from './disk.ts'
import { noSuchBucket, StorageError, tooLarge } from './errors.ts'
import {
  asCaller,
  asOwner,
  type BucketRow,
  findObject,
  type ObjectMetadata,
  type StorageCaller,
  type StorageFace,
} from './face.ts'
import { checkKey } from './names.ts'

export interface Upload {
  bucket: string
  name: string
  upsert: boolean
  request: Request
  /** Null for a signed upload URL, whose token says the owner. */
  caller: StorageCaller | null
  owner: string | null
}

interface Content {
  source: AsyncIterable<Uint8Array>
  mimetype: string
  cacheControl: string
  userMetadata: Record<string, unknown> | null
}

// Form fields and part headers around the file itself.
const FORM_OVERHEAD_BYTES = 64 * 1024

/** Receives the bytes, writes the row as the caller (its policies decide) and puts the file in place, or undoes all. */
export async function upload(face: StorageFace, given: Upload): Promise<{ Id: string; Key: string }> {
  const name = checkKey(given.name)
  const bucket = await readBucket(face, given.bucket)
  const limit = Math.min(Number(bucket.file_size_limit ?? face.maxFileBytes), face.maxFileBytes)
  const declared = Number(given.request.headers.get('content-length') ?? '0')
  if (declared > limit + FORM_OVERHEAD_BYTES) throw tooLarge()
  const content = await readContent(given.request, limit)
  checkMimeType(bucket, content.mimetype)
  const bytes = await face.disk.receive(content.source, limit)
  try {
    const metadata = metadataOf(bytes, content)
    const write = (query: Query) =>
      writeRow(query, { ...given, name, bytes, metadata, content, keep: bytes.keep })
    const run = given.caller === null ? asOwner(face, write) : asCaller(face, given.caller, write)
    const { id, previous } = await run
    if (previous !== null) await face.disk.remove([previous])
    return { Id: id, Key: `${given.bucket}/${name}` }
  } catch (error) {
    await bytes.drop()
    // The file may be in place already when the commit itself failed.
    await face.disk.remove([bytes.version])
    throw error
  }
}

async function readBucket(face: StorageFace, id: string): Promise<BucketRow> {
  const { rows } = await asOwner(face, (query) =>
    query<BucketRow>('select * from storage.buckets where id = $1', [id]),
  )
  const [bucket] = rows
  if (bucket === undefined) throw noSuchBucket()
  return bucket
}

async function writeRow(
  query: Query,
  given: Upload & { bytes: StoredBytes; metadata: ObjectMetadata; content: Content; keep(): Promise<void> },
): Promise<{ id: string; previous: string | null }> {
  const { bucket, name, bytes, metadata, content } = given
  const id = randomUUID()
  const owner = given.caller === null ? given.owner : subjectOf(given.caller)
  const values = [id, bucket, name, asUuid(owner), owner, metadata, content.userMetadata, bytes.version]
  const insert = `insert into storage.objects (id, bucket_id, name, owner, owner_id, metadata, user_metadata, version)
    values ($1, $2, $3, $4, $5, $6, $7, $8)`
  // Without upsert nothing is read back: the right to insert is enough, as on hosted projects.
  if (!given.upsert) {
    await query(insert, values)
    await given.keep()
    return { id, previous: null }
  }
  const existing = await findObject(query, bucket, name)
  const { rows } = await query<{ id: string }>(
    `${insert} on conflict (bucket_id, name) do update set owner = excluded.owner, owner_id = excluded.owner_id,
       metadata = excluded.metadata, user_metadata = excluded.user_metadata, version = excluded.version,
       updated_at = now(), last_accessed_at = now()
     returning id`,
    values,
  )
  await given.keep()
  return { id: rows[0]?.id ?? id, previous: existing?.version ?? null }
}

export function subjectOf(caller: StorageCaller): string | null {
  return typeof caller.claims.sub === 'string' && caller.claims.sub !== '' ? caller.claims.sub : null
}

function asUuid(text: string | null): string | null {
  return text !== null && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text) ? text : null
}

async function readContent(request: Request, limit: number): Promise<Content> {
  const type = request.headers.get('content-type') ?? 'application/octet-stream'
  const cacheControl = request.headers.get('cache-control') ?? 'no-cache'
  if (!type.toLowerCase().startsWith('multipart/form-data')) {
    const encoded = request.headers.get('x-metadata')
    const userMetadata = parseMetadata(encoded === null ? null : Buffer.from(encoded, 'base64').toString())
    return { source: chunks(request.body), mimetype: type, cacheControl, userMetadata }
  }
  const form = await readForm(request, type, limit + FORM_OVERHEAD_BYTES)
  const file = [...form.values()].find((value) => typeof value !== 'string')
  if (file === undefined) throw new StorageError(400, 'InvalidRequest', 'No content provided')
  const age = form.get('cacheControl')
  const metadata = form.get('metadata')
  return {
    source: chunks(file.stream()),
    mimetype:
      typeof form.get('contentType') === 'string'
        ? String(form.get('contentType'))
        : file.type || 'application/octet-stream',
    cacheControl: typeof age === 'string' && /^\d{1,10}$/.test(age) ? `max-age=${age}` : 'no-cache',
    userMetadata: parseMetadata(typeof metadata === 'string' ? metadata : null),
  }
}

/** A form is held in memory while it is taken apart, so it is cut off at the object's limit. */
async function readForm(request: Request, type: string, maxBytes: number): Promise<FormData> {
  const parts: Uint8Array[] = []
  let size = 0
  for await (const chunk of chunks(request.body)) {
    size += chunk.byteLength
    if (size > maxBytes) throw tooLarge()
    parts.push(chunk)
  }
  try {
    return await new Response(Buffer.concat(parts), { headers: { 'content-type': type } }).formData()
  } catch {
    throw new StorageError(400, 'InvalidRequest', 'The body is not a valid form')
  }
}

async function* chunks(stream: ReadableStream<Uint8Array> | null): AsyncGenerator<Uint8Array> {
  if (stream === null) return
  yield* stream
}

function parseMetadata(text: string | null): Record<string, unknown> | null {
  if (text === null) return null
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return value as Record<string, unknown>
  } catch {}
  throw new StorageError(400, 'InvalidParameter', 'Invalid Parameter metadata')
}

function checkMimeType(bucket: BucketRow, mimetype: string): void {
  const allowed = bucket.allowed_mime_types
  const bare = mimetype.split(';')[0]?.trim().toLowerCase() ?? ''
  if (!/^[\w.+-]+\/[\w.+-]+$/.test(bare)) {
    throw new StorageError(
      415,
      'InvalidMimeType',
      `mime type ${mimetype.slice(0, 100)} is not supported`,
      'invalid_mime_type',
    )
  }
  if (allowed === null || allowed.length === 0) return
  const fits = allowed.some((one) =>
    one.endsWith('/*') ? bare.startsWith(one.slice(0, -1)) : one.toLowerCase() === bare,
  )
  if (!fits)
    throw new StorageError(415, 'InvalidMimeType', `mime type ${bare} is not supported`, 'invalid_mime_type')
}

function metadataOf(bytes: StoredBytes, content: Content): ObjectMetadata {
  return {
    eTag: bytes.etag,
    size: bytes.size,
    mimetype: content.mimetype,
    cacheControl: content.cacheControl,
    lastModified: new Date().toISOString(),
    contentLength: bytes.size,
    httpStatusCode: 200,
  }
}
