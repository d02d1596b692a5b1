import type pg from 'pg'
import type { Access } from '../access.ts'
import type { CallerClaims, RequestFacts } from '../caller.ts'
import { type Query, transact } from '../transact.ts'
import type { Disk } from './disk.ts'
import type { Signer } from './sign-token.ts'

export interface StorageFace {
  pool: pg.Pool
  disk: Disk
  access: Access
  signer: Signer
  /** Bytes of one object when its bucket sets no smaller limit (50 MiB on hosted free projects). */
  maxFileBytes: number
}

export interface StorageCaller extends CallerClaims {
  facts: RequestFacts
}

export async function callerOf(face: StorageFace, request: Request): Promise<StorageCaller> {
  const caller = await face.access.caller(request)
  const facts = {
    method: request.method,
    path: new URL(request.url).pathname,
    headers: Object.fromEntries(request.headers),
  }
  return { ...caller, facts }
}

/** SQL under the caller's role: the policies of storage.objects and storage.buckets decide. */
export function asCaller<T>(
  face: StorageFace,
  caller: StorageCaller,
  work: (query: Query) => Promise<T>,
  options: { rollback?: boolean } = {},
): Promise<T> {
  const { role, claims, facts } = caller
  // storage-api gives its statements 30 s on hosted projects.
  const settings: [string, string][] = [['statement_timeout', '30s']]
  return transact(
    face.pool,
    { caller: { role, claims }, request: facts, searchPath: 'storage', settings, ...options },
    work,
  )
}

/** SQL as the owner of the storage tables, for what is no secret or already proven (a signed URL). */
export function asOwner<T>(face: StorageFace, work: (query: Query) => Promise<T>): Promise<T> {
  return transact(
    face.pool,
    { caller: null, searchPath: 'storage', settings: [['statement_timeout', '30s']] },
    work,
  )
}

export interface ObjectRow {
  id: string
  bucket_id: string
  name: string
  owner: string | null
  owner_id: string | null
  created_at: Date
  updated_at: Date
  last_accessed_at: Date
  metadata: ObjectMetadata | null
  user_metadata: Record<string, unknown> | null
  version: string | null
}

export interface ObjectMetadata {
  eTag: string
  size: number
  mimetype: string
  cacheControl: string
  lastModified: string
  contentLength: number
  httpStatusCode: number
}

export interface BucketRow {
  id: string
  name: string
  owner: string | null
  public: boolean
  file_size_limit: string | null
  allowed_mime_types: string[] | null
  created_at: Date
  updated_at: Date
  type: string
}

export async function findObject(query: Query, bucket: string, name: string): Promise<ObjectRow | null> {
  const { rows } = await query<ObjectRow>(
    'select * from storage.objects where bucket_id = $1 and name = $2',
    [bucket, name],
  )
  return rows[0] ?? null
}
