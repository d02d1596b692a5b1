import { z } from 'zod'
import type { Query } from '../transact.ts'

export const listRequest = z.object({
  prefix: z.string().max(1024).default(''),
  limit: z.number().int().min(1).max(10_000).default(100),
  offset: z.number().int().min(0).max(1_000_000_000).default(0),
  search: z.string().max(1024).optional(),
  sortBy: z
    .object({
      column: z.enum(['name', 'updated_at', 'created_at', 'last_accessed_at']).default('name'),
      order: z.enum(['asc', 'desc']).default('asc'),
    })
    .default({ column: 'name', order: 'asc' }),
})

/** One level of a folder: its files, and the folders in it with null in every column but `name`. */
export async function listObjects(
  query: Query,
  bucket: string,
  given: z.infer<typeof listRequest>,
): Promise<unknown[]> {
  const trimmed = given.prefix.replace(/^\/+|\/+$/g, '')
  const prefix = trimmed === '' ? '' : `${trimmed}/`
  const { column, order } = given.sortBy
  const { rows } = await query(
    `with inside as (
       select o.*, substr(o.name, length($2) + 1) as rest
       from storage.objects o where o.bucket_id = $1 and starts_with(o.name, $2)
     ), listed as (
       select rest as name, id, updated_at, created_at, last_accessed_at, metadata from inside where rest !~ '/'
       union all
       select distinct split_part(rest, '/', 1), null::uuid, null::timestamptz, null::timestamptz, null::timestamptz, null::jsonb
       from inside where rest ~ '/'
     )
     select * from listed where starts_with(lower(name), lower($3)) and name <> ''
     order by (id is null) desc, ${column} ${order}, name limit $4 offset $5`,
    [bucket, prefix, given.search ?? '', given.limit, given.offset],
  )
  return rows
}
