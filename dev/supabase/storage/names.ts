import { StorageError } from './errors.ts'

// What hosted Storage takes: names that S3 takes without escaping.
const KEY = /^[\w/!\-.*'() &$@=;:+,?]+$/
const BUCKET = /^[\w!\-.*'() &$@=;:+,?]+$/
const MAX_KEY_BYTES = 1024

/** @throws StorageError InvalidKey. Names never become paths on disk; this keeps them the same as on hosted projects. */
export function checkKey(name: string): string {
  const segments = name.split('/')
  const odd = segments.some((segment) => segment === '' || segment === '.' || segment === '..')
  if (name.length <= MAX_KEY_BYTES && KEY.test(name) && !odd) return name
  throw new StorageError(400, 'InvalidKey', `Invalid key: ${name.slice(0, 200)}`)
}

export function checkBucketName(name: string): string {
  if (name.length > 0 && name.length <= 100 && BUCKET.test(name) && name.trim() === name) return name
  throw new StorageError(400, 'InvalidBucketName', 'Bucket name invalid', 'Invalid Input')
}
