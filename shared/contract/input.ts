import type * as z from 'zod'
import { AppError } from '../core/errors.ts'
import { isUuid } from '../core/uuid.ts'

/** Lists are cut to 1..500 rows; nonsense counts as the default, as old callers are used to. */
const MAX_LIMIT = 500

export function clampLimit(value: unknown, fallback: number): number {
  const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value
  if (typeof number !== 'number' || Number.isNaN(number)) return fallback
  return Math.min(MAX_LIMIT, Math.max(1, Math.floor(number)))
}

/**
 * The run that a request names.
 *
 * @throws AppError run_id_required; run_not_found for anything that is not a UUID, as for a run that is not there
 */
export function runIdOf(...candidates: unknown[]): string {
  const value = candidates.find(
    (candidate) => candidate !== undefined && candidate !== null && candidate !== '',
  )
  if (value === undefined || (typeof value === 'string' && value.trim() === '')) {
    throw new AppError('run_id_required', 'run_id is required')
  }
  const id = typeof value === 'string' ? value.trim() : value
  if (!isUuid(id)) throw runNotFound()
  return id.toLowerCase()
}

export function runNotFound(): AppError {
  return new AppError('run_not_found', 'Run not found')
}

/** The body as the schema says, or `invalid_request` with the first fault in words. */
export function parseBody<T extends z.ZodType>(schema: T, body: unknown): z.output<T> {
  const parsed = schema.safeParse(body)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  const path = issue?.path.join('.') ?? ''
  throw new AppError(
    'invalid_request',
    path === '' ? (issue?.message ?? 'Invalid request') : `${path}: ${issue?.message ?? 'invalid'}`,
  )
}

/** A parameter that a script filled from nothing arrives as one of these words. */
export function isBlank(value: string | undefined): value is undefined {
  return value === undefined || value.trim() === '' || value === 'undefined' || value === 'null'
}
