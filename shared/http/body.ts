import { bodyLimit } from 'hono/body-limit'
import { AppError } from '../core/errors.ts'
import { storableJson } from '../core/storable-json.ts'
import type { AppContext } from './env.ts'

/**
 * The JSON object of a request, fit for storage: text that Postgres refuses is repaired, `__proto__` keys are dropped.
 *
 * @throws AppError unsupported_media_type, body_too_large, invalid_json (also for broken UTF-8), invalid_request (not an object, or
 * nested more than 64 levels)
 */
export async function readJson(
  context: AppContext,
  { maxBytes }: { maxBytes: number },
): Promise<Record<string, unknown>> {
  requireJson(context.req.header('content-type'))
  await limitBody(context, maxBytes)
  let value: unknown
  try {
    value = JSON.parse(
      new TextDecoder('utf-8', { fatal: true }).decode(await context.req.arrayBuffer()),
      withoutProto,
    )
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

/** Refuses a body over the limit before it is read; for a body of unknown length while it is read. */
export async function limitBody(context: AppContext, maxBytes: number): Promise<void> {
  const onError = (): never => {
    throw new AppError('body_too_large', `Request body is larger than ${maxBytes} bytes`)
  }
  await bodyLimit({ maxSize: maxBytes, onError })(context, async () => {})
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
