import { BadRequest } from './options.ts'
import type { AppContext } from './target.ts'

/** What is read and dropped of a body over its limit: a client that is cut off while it sends never sees the answer. */
const MAX_DRAINED_BYTES = 32 * 1024 * 1024

/** The raw body, kept no further than the limit. Throws BadRequest 413. */
export async function readBody(c: AppContext, maxBytes: number): Promise<Buffer> {
  const stream = c.req.raw.body
  if (!stream) return Buffer.alloc(0)
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of stream) {
    size += chunk.byteLength
    if (size <= maxBytes) chunks.push(chunk)
    else if (size > MAX_DRAINED_BYTES) break
  }
  if (size > maxBytes) throw new BadRequest(`body is larger than ${maxBytes} bytes`, 413)
  return Buffer.concat(chunks)
}

/** A JSON body; `undefined` when it is empty. Throws BadRequest. */
export async function readJson(c: AppContext, maxBytes: number): Promise<unknown> {
  const bytes = await readBody(c, maxBytes)
  if (bytes.length === 0) return undefined
  try {
    return JSON.parse(bytes.toString('utf8')) as unknown
  } catch {
    throw new BadRequest('invalid JSON body')
  }
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
