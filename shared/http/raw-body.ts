import { AppError } from '../core/errors.ts'
import { broken, limitBody } from './body.ts'
import type { AppContext } from './env.ts'

/** The body as it was sent, for signatures: parsing and writing it again would break them. Refused over the limit before it is read. */
export async function rawBody(context: AppContext, maxBytes: number): Promise<string> {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(await rawBytes(context, maxBytes))
  } catch (error) {
    if (error instanceof AppError) throw error
    throw new AppError('invalid_request', 'Request body is not UTF-8', { cause: error })
  }
}

export async function rawBytes(context: AppContext, maxBytes: number): Promise<Uint8Array> {
  await limitBody(context, maxBytes)
  return new Uint8Array(await context.req.arrayBuffer().catch(broken))
}
