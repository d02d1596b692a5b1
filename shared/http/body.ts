import { AppError } from '../core/errors.ts'
import { storableJson } from '../core/storable-json.ts'
import type { AppContext } from './env.ts'

/** Of a refused body of unknown length so much is read and thrown away; a connection with more is cut. */
const MAX_DISCARDED_BYTES = 64 * 1024 * 1024

/**
 * The JSON object of a request, fit for storage: text that Postgres refuses is repaired, `__proto__` keys are dropped.
 *
 * @throws AppError unsupported_media_type, body_too_large, request_timeout, invalid_json (also for broken UTF-8), invalid_request (not an object, or
 * nested more than 64 levels)
 */
export async function readJson(
  context: AppContext,
  { maxBytes }: { maxBytes: number },
): Promise<Record<string, unknown>> {
  requireJson(context.req.header('content-type'))
  await limitBody(context, maxBytes)
  const bytes = await context.req.arrayBuffer().catch(broken)
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes), withoutProto)
  } catch (error) {
    // A reviver recurses: an extreme depth ends here as a RangeError, which is the caller's fault too.
    throw new AppError('invalid_json', 'Request body is not valid JSON', { cause: error })
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new AppError('invalid_request', 'Request body must be a JSON object')
  }
  const storable = storableJson(value)
  if (storable === undefined) throw new AppError('invalid_request', 'Request body is nested too deeply')
  return storable as Record<string, unknown>
}

/**
 * Refuses a body over the limit: before it is read where its length is known, else while it is read. What is refused is still taken
 * off the connection, or the next request on it (a proxy sends another caller's there) would be cut together with it.
 */
export async function limitBody(context: AppContext, maxBytes: number): Promise<void> {
  const tooLarge = () =>
    new AppError(
      'body_too_large',
      `Request body is larger than ${maxBytes} bytes: send less; files are sent as attachments, through Storage`,
    )
  const length = context.req.header('content-length')
  if (length !== undefined && context.req.header('transfer-encoding') === undefined) {
    // The body must not be touched here: untouched, the server itself takes it off the connection.
    if (Number(length) > maxBytes) throw tooLarge()
    return
  }
  const reader = context.req.raw.body?.getReader()
  if (reader === undefined) return
  const chunks: Uint8Array[] = []
  let bytes = 0
  for (;;) {
    const { done, value } = await reader.read().catch(broken)
    if (done) break
    bytes += value.byteLength
    if (bytes <= maxBytes) chunks.push(value)
    else chunks.length = 0
    if (bytes > maxBytes + MAX_DISCARDED_BYTES) {
      await reader.cancel()
      break
    }
  }
  if (bytes > maxBytes) throw tooLarge()
  context.req.raw = new Request(context.req.raw, { body: Buffer.concat(chunks) })
}

/** The connection ended before the body did: by the caller, or by the server, which has answered then. */
export function broken(cause: unknown): never {
  throw new AppError('request_timeout', 'Request body did not arrive: send the request again', { cause })
}

/** A missing type is taken for JSON (curl scripts leave it out); anything that says it is something else is refused. */
function requireJson(contentType: string | undefined): void {
  if (contentType === undefined || contentType.trim() === '') return
  const type = contentType.split(';', 1)[0]?.trim().toLowerCase() ?? ''
  if (type === 'application/json' || type.endsWith('+json')) return
  throw new AppError('unsupported_media_type', 'Content-Type must be application/json')
}

function withoutProto(key: string, value: unknown): unknown {
  return key === '__proto__' ? undefined : value
}
