import pg from 'pg'
import { AccessError } from '../access.ts'
import { DatabaseAway } from '../transact.ts'

/** An error of Storage: `statusCode` in the body is the real one, while HTTP says 400 (500 for 500), as on hosted projects. */
export class StorageError extends Error {
  readonly statusCode: number
  readonly code: string
  readonly error: string

  constructor(statusCode: number, code: string, message: string, error: string = code) {
    super(message)
    this.name = 'StorageError'
    this.statusCode = statusCode
    this.code = code
    this.error = error
  }
}

export const noSuchBucket = () =>
  new StorageError(404, 'NoSuchBucket', 'Bucket not found', 'Bucket not found')
export const noSuchKey = () => new StorageError(404, 'NoSuchKey', 'Object not found', 'not_found')
export const duplicate = () =>
  new StorageError(409, 'KeyAlreadyExists', 'The resource already exists', 'Duplicate')
export const tooLarge = () =>
  new StorageError(413, 'EntityTooLarge', 'The object exceeded the maximum allowed size', 'Payload too large')

export function storageErrorResponse(error: unknown): Response {
  const known = asStorageError(error)
  const status = known.statusCode >= 500 ? known.statusCode : 400
  const { statusCode, code, message } = known
  const body = { statusCode: String(statusCode), code, error: known.error, message }
  return new Response(JSON.stringify(body), {
    status,
    headers: { 'content-type': 'application/json; charset=utf-8' },
  })
}

function asStorageError(error: unknown): StorageError {
  if (error instanceof StorageError) return error
  if (error instanceof AccessError) {
    const message = error.code === 'PGRST303' ? '"exp" claim timestamp check failed' : error.message
    return new StorageError(403, 'AccessDenied', message, 'Unauthorized')
  }
  if (error instanceof DatabaseAway) {
    return new StorageError(
      503,
      'DatabaseConnectionLimit',
      'The database does not answer. Please try again later.',
    )
  }
  if (error instanceof pg.DatabaseError) return fromDatabase(error)
  if ((error as NodeJS.ErrnoException | null)?.code === 'ENOSPC') {
    return new StorageError(507, 'InternalError', 'The disk is full')
  }
  return new StorageError(500, 'InternalError', 'The development Storage face failed')
}

function fromDatabase(error: pg.DatabaseError): StorageError {
  if (error.code === '42501') return new StorageError(403, 'AccessDenied', error.message, 'Unauthorized')
  if (error.code === '23505') return duplicate()
  if (error.code === '23503')
    return new StorageError(404, 'InvalidRequest', 'The related resource does not exist')
  if (error.code === '57014')
    return new StorageError(544, 'DatabaseTimeout', 'The connection to the database timed out')
  if (error.code?.startsWith('22')) return new StorageError(400, 'InvalidParameter', error.message)
  return new StorageError(500, 'DatabaseError', error.message)
}
