import { Hono } from 'hono'
import { z } from 'zod'
import { noSuchBucket, StorageError } from './errors.ts'
import { asCaller, asOwner, type BucketRow, callerOf, type StorageFace } from './face.ts'
import { checkBucketName } from './names.ts'
import { readJson } from './read-json.ts'
import { subjectOf } from './upload.ts'

const settings = z.object({
  public: z.boolean().optional(),
  file_size_limit: z.union([z.number(), z.string()]).nullish(),
  allowed_mime_types: z.array(z.string().max(200)).max(200).nullish(),
})
const newBucket = settings.extend({ id: z.string().optional(), name: z.string() })

/** `/storage/v1/bucket`; who may do what is decided by the policies of storage.buckets (service_role has all). */
export function bucketRoutes(face: StorageFace): Hono {
  const app = new Hono()

  app.post('/', async (c) => {
    const body = await readJson(c, newBucket)
    const id = checkBucketName(body.id ?? body.name)
    const caller = await callerOf(face, c.req.raw)
    await asCaller(face, caller, (query) =>
      query(
        `insert into storage.buckets (id, name, owner_id, public, file_size_limit, allowed_mime_types)
         values ($1, $2, $3, $4, $5, $6)`,
        [
          id,
          checkBucketName(body.name),
          subjectOf(caller),
          body.public ?? false,
          sizeLimit(body.file_size_limit),
          body.allowed_mime_types ?? null,
        ],
      ),
    )
    return c.json({ name: id })
  })

  app.get('/', async (c) => {
    const caller = await callerOf(face, c.req.raw)
    const { rows } = await asCaller(face, caller, (query) =>
      query<BucketRow>('select * from storage.buckets order by name'),
    )
    return c.json(rows.map(bucketBody))
  })

  app.get('/:id', async (c) => {
    const caller = await callerOf(face, c.req.raw)
    const { rows } = await asCaller(face, caller, (query) =>
      query<BucketRow>('select * from storage.buckets where id = $1', [c.req.param('id')]),
    )
    const [bucket] = rows
    if (bucket === undefined) throw noSuchBucket()
    return c.json(bucketBody(bucket))
  })

  app.put('/:id', async (c) => {
    const body = await readJson(c, settings)
    const caller = await callerOf(face, c.req.raw)
    const { rowCount } = await asCaller(face, caller, (query) =>
      query(
        `update storage.buckets set updated_at = now(), public = coalesce($2, public),
           file_size_limit = case when $3 then $4::bigint else file_size_limit end,
           allowed_mime_types = case when $5 then $6::text[] else allowed_mime_types end
         where id = $1`,
        [
          c.req.param('id'),
          body.public ?? null,
          body.file_size_limit !== undefined,
          sizeLimit(body.file_size_limit),
          body.allowed_mime_types !== undefined,
          body.allowed_mime_types ?? null,
        ],
      ),
    )
    if (rowCount === 0) throw noSuchBucket()
    return c.json({ message: 'Successfully updated' })
  })

  app.delete('/:id', async (c) => {
    const id = c.req.param('id')
    const caller = await callerOf(face, c.req.raw)
    // Counted as the owner: objects that the caller may not see must keep the bucket too.
    const { rowCount: objects } = await asOwner(face, (query) =>
      query('select from storage.objects where bucket_id = $1 limit 1', [id]),
    )
    const deleted = await asCaller(face, caller, async (query) => {
      const { rowCount } = await query('select from storage.buckets where id = $1', [id])
      if (rowCount === 0) throw noSuchBucket()
      if (objects !== 0) {
        throw new StorageError(409, 'ResourceNotEmpty', 'The bucket you tried to delete is not empty')
      }
      return await query('delete from storage.buckets where id = $1', [id])
    })
    if (deleted.rowCount === 0) throw noSuchBucket()
    return c.json({ message: 'Successfully deleted' })
  })

  app.post('/:id/empty', async (c) => {
    const id = c.req.param('id')
    const caller = await callerOf(face, c.req.raw)
    const { rows } = await asCaller(face, caller, async (query) => {
      const { rowCount } = await query('select from storage.buckets where id = $1', [id])
      if (rowCount === 0) throw noSuchBucket()
      return await query<{ version: string | null }>(
        'delete from storage.objects where bucket_id = $1 returning version',
        [id],
      )
    })
    await face.disk.remove(rows.map((row) => row.version))
    return c.json({ message: 'Successfully emptied' })
  })
  return app
}

function bucketBody(row: BucketRow): Record<string, unknown> {
  return {
    id: row.id,
    name: row.name,
    owner: row.owner ?? '',
    public: row.public,
    type: row.type,
    file_size_limit: row.file_size_limit === null ? null : Number(row.file_size_limit),
    allowed_mime_types: row.allowed_mime_types,
    created_at: row.created_at,
    updated_at: row.updated_at,
  }
}

const UNITS: Record<string, number> = { B: 1, KB: 1024, MB: 1024 ** 2, GB: 1024 ** 3 }

/** Bytes, or text such as `20MB`. */
function sizeLimit(value: number | string | null | undefined): number | null {
  if (value === null || value === undefined) return null
  const match = /^(\d{1,12})\s*(B|KB|MB|GB)?$/i.exec(String(value).trim())
  if (match !== null) return Number(match[1]) * (UNITS[(match[2] ?? 'B').toUpperCase()] ?? 1)
  throw new StorageError(400, 'InvalidRequest', 'Invalid file size format, hint: use 20GB / 20MB / 30KB / 3B')
}
