import { createClient, type SupabaseClient } from '@supabase/supabase-js'
import { inject } from 'vitest'
import type { User } from '../system/kit.ts'

/** A new user with an unmodified supabase-js client whose function calls go to the cluster's public address. */
export async function newUser(name: string): Promise<User> {
  const { origin, publicUrl, anonKey } = inject('ground')
  const supabase: SupabaseClient = createClient(origin, anonKey, {
    auth: { persistSession: false, autoRefreshToken: false },
    // on hosted Supabase the forwarders do this: old callers know one address for everything
    global: {
      fetch: (input, init) => {
        const url = String(input instanceof Request ? input.url : input)
        return fetch(url.startsWith(`${origin}/functions/`) ? url.replace(origin, publicUrl) : input, init)
      },
    },
  })
  const { data, error } = await supabase.auth.signUp({
    email: `${name}-${crypto.randomUUID().slice(0, 8)}@example.com`,
    password: 'correct horse battery',
  })
  if (error !== null || data.session === null) throw error ?? new Error('no session')
  return { supabase, id: data.session.user.id, token: data.session.access_token }
}

/** The local stack signs addresses that pods can reach; on this machine it listens elsewhere. */
export function reachable(url: string): string {
  const { host, origin } = inject('ground')
  return url.replace(new RegExp(`^http://${host.replaceAll('.', '\\.')}:\\d+`), origin)
}
