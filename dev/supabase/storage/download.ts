import { noSuchKey, StorageError } from './errors.ts'
import type { ObjectRow, StorageFace } from './face.ts'

// Everything is on one origin with the console: what a user uploaded must not run there as a page. (Hosted projects
// answer HTML as text/plain for the same reason.)
const SANDBOX = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"

/** The bytes of an object with its headers; one range is answered with 206. */
export async function objectResponse(
  face: StorageFace,
  row: ObjectRow,
  request: Request,
  options: { download: string | null },
): Promise<Response> {
  const size = row.version === null ? null : await face.disk.size(row.version)
  if (row.version === null || size === null) throw noSuchKey()
  const headers = headersOf(row, size, options.download)
  const etag = headers.get('etag')
  if (etag !== null && request.headers.get('if-none-match') === etag)
    return new Response(null, { status: 304, headers })
  const range = parseRange(request.headers.get('range'), size)
  if (range !== null) {
    headers.set('content-range', `bytes ${range.start}-${range.end}/${size}`)
    headers.set('content-length', String(range.end - range.start + 1))
  }
  const status = range === null ? 200 : 206
  if (request.method === 'HEAD') return new Response(null, { status, headers })
  // An empty file has no last byte to ask for.
  const body = size === 0 ? '' : face.disk.read(row.version, range)
  return new Response(body, { status, headers })
}

function headersOf(row: ObjectRow, size: number, download: string | null): Headers {
  const { metadata } = row
  const headers = new Headers({
    'content-type': metadata?.mimetype ?? 'application/octet-stream',
    'content-length': String(size),
    'cache-control': metadata?.cacheControl ?? 'no-cache',
    'last-modified': new Date(metadata?.lastModified ?? row.updated_at).toUTCString(),
    'accept-ranges': 'bytes',
    'x-content-type-options': 'nosniff',
    'content-security-policy': SANDBOX,
  })
  if (metadata?.eTag !== undefined) headers.set('etag', metadata.eTag)
  if (download !== null) headers.set('content-disposition', disposition(download))
  return headers
}

/** `?download=` without a name saves under the URL's last segment. */
function disposition(name: string): string {
  if (name === '') return 'attachment;'
  const encoded = encodeURIComponent(name).replace(
    /['()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  )
  return `attachment; filename=${encoded}; filename*=UTF-8''${encoded};`
}

function parseRange(header: string | null, size: number): { start: number; end: number } | null {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? '')
  if (match === null || (match[1] === '' && match[2] === '') || size === 0) return null
  const [, first = '', last = ''] = match
  const start = first === '' ? Math.max(0, size - Number(last)) : Number(first)
  const end = first === '' || last === '' ? size - 1 : Math.min(Number(last), size - 1)
  if (start <= end) return { start, end }
  throw new StorageError(416, 'InvalidRange', 'invalid range provided', 'invalid_range')
}

export function infoBody(row: ObjectRow): Record<string, unknown> {
  const { metadata } = row
  return {
    id: row.id,
    name: row.name,
    version: row.version,
    bucket_id: row.bucket_id,
    size: metadata?.size ?? 0,
    content_type: metadata?.mimetype ?? null,
    cache_control: metadata?.cacheControl ?? null,
    etag: metadata?.eTag ?? null,
    metadata: row.user_metadata ?? {},
    last_modified: metadata?.lastModified ?? row.updated_at,
    last_accessed_at: row.last_accessed_at,
    created_at: row.created_at,
    updated_at: row.updated_at,
  }
}
