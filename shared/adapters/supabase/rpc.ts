import { PostgrestClient } from '@supabase/postgrest-js'
import { sqlArgument, sqlError } from '../../core/sql-call.ts'
import type { SqlCall } from '../../ports/sql-call.ts'

export interface SupabaseOptions {
  /** Project URL, without `/rest/v1`. */
  url: string
  anonKey: string
  /** JWT whose role may EXECUTE the functions it needs and nothing else. */
  roleToken: string
  /** A call without an answer by then counts as "not known whether it happened". */
  timeoutMs: number
}

/** Calls SQL functions through PostgREST. */
export function createRpc({ url, anonKey, roleToken, timeoutMs }: SupabaseOptions): SqlCall {
  const client = new PostgrestClient(`${url}/rest/v1`, {
    headers: { apikey: anonKey, Authorization: `Bearer ${roleToken}` },
    fetch: (input, init) => fetch(input, { ...init, signal: AbortSignal.timeout(timeoutMs) }),
  })
  return async <T>(name: string, argument: Record<string, unknown>): Promise<T> => {
    const { data, error, status } = await client.rpc(name, { p: sqlArgument(argument) })
    if (error === null) return data as T
    // postgrest-js gives an error without an answer the code '' or that of the socket
    throw sqlError(name, { code: error.code, message: error.message, hint: error.hint, status }, error)
  }
}
