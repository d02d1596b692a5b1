import type { Context } from 'hono'
import type { z } from 'zod'
import { StorageError } from './errors.ts'

const MAX_JSON_BYTES = 1024 * 1024

/** A JSON body that fits the schema. @throws StorageError InvalidRequest, EntityTooLarge */
export async function readJson<T>(c: Context, schema: z.ZodType<T>): Promise<T> {
  const declared = Number(c.req.header('content-length') ?? '0')
  if (declared > MAX_JSON_BYTES)
    throw new StorageError(413, 'EntityTooLarge', 'The body is too large', 'Payload too large')
  const parts: Uint8Array[] = []
  let size = 0
  for await (const chunk of c.req.raw.body ??
    new ReadableStream<Uint8Array>({ start: (one) => one.close() })) {
    size += chunk.byteLength
    if (size > MAX_JSON_BYTES)
      throw new StorageError(413, 'EntityTooLarge', 'The body is too large', 'Payload too large')
    parts.push(chunk)
  }
  let parsed: unknown
  try {
    parsed = JSON.parse(size === 0 ? '{}' : Buffer.concat(parts).toString())
  } catch {
    throw new StorageError(400, 'InvalidRequest', 'The body is not valid JSON')
  }
  const result = schema.safeParse(parsed)
  if (result.success) return result.data
  const [issue] = result.error.issues
  throw new StorageError(
    400,
    'InvalidRequest',
    `${issue?.path.join('.') || 'body'}: ${issue?.message ?? 'invalid'}`,
  )
}
