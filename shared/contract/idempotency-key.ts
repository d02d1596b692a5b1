import { createHash } from 'node:crypto'
import { AppError } from '../core/errors.ts'

const PRINTABLE = /^[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?$/

/**
 * The Idempotency-Key header with the hash of the body it belongs to; null without the header.
 *
 * @throws AppError invalid_request unless it is 1 to 255 printable ASCII characters
 */
export function idempotencyOf(
  header: string | undefined,
  body: Record<string, unknown>,
): { key: string; body_sha256: string } | null {
  if (header === undefined) return null
  if (!PRINTABLE.test(header)) {
    throw new AppError('invalid_request', 'Idempotency-Key must be 1 to 255 printable ASCII characters')
  }
  return { key: header, body_sha256: createHash('sha256').update(canonical(body)).digest('hex') }
}

/** JSON with sorted keys: the same body from another client's serialiser is the same body. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const entries = Object.entries(value)
    .filter(([, item]) => item !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
  return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${canonical(item)}`).join(',')}}`
}
