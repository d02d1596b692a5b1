import type { Context } from 'hono'
import type { z } from 'zod'
import { AuthError } from './errors.ts'

export async function readBody<T>(c: Context, schema: z.ZodType<T>): Promise<T> {
  const text = await c.req.text()
  let parsed: unknown
  try {
    parsed = JSON.parse(text === '' ? '{}' : text)
  } catch {
    throw new AuthError(400, 'bad_json', 'Could not parse request body as JSON')
  }
  const result = schema.safeParse(parsed)
  if (result.success) return result.data
  const [issue] = result.error.issues
  throw new AuthError(
    400,
    'validation_failed',
    `Invalid ${issue?.path.join('.') || 'body'}: ${issue?.message ?? ''}`,
  )
}
