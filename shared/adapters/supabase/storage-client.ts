import { StorageClient } from '@supabase/storage-js'
import type { SupabaseOptions } from './rpc.ts'

/** A Storage client that speaks as the service's narrow role, or as whoever's token is given. */
export function storageClient({ url, anonKey, roleToken, timeoutMs }: SupabaseOptions): StorageClient {
  return new StorageClient(
    `${url}/storage/v1`,
    { apikey: anonKey, Authorization: `Bearer ${roleToken}` },
    (input, init) => fetch(input, { ...init, signal: AbortSignal.timeout(timeoutMs) }),
  )
}

/** HTTP status of a storage error, or 0 when there was no answer. */
export function storageStatus(error: unknown): number {
  const { status, statusCode } = error as { status?: unknown; statusCode?: unknown }
  return Number(statusCode ?? status ?? 0) || Number(status ?? 0) || 0
}

/** Storing the same bytes under the same key twice is no error: keys are derived from the content. */
export function isDuplicate(error: unknown): boolean {
  return (
    storageStatus(error) === 409 ||
    /duplicate|already exists/i.test(String((error as { message?: unknown }).message))
  )
}
