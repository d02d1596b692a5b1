import { createClient, type SupabaseClient } from '@supabase/supabase-js'

export interface DemoUser {
  supabase: SupabaseClient
  userId: string
  /** A token with at least a minute left: supabase-js refreshes it. */
  token: () => Promise<string>
}

/** Signs the demo user in through the Auth face, after signing them up where they do not exist yet. */
export async function signInDemoUser(env: {
  SUPABASE_URL: string
  SUPABASE_ANON_KEY: string
  DEMO_EMAIL: string
  DEMO_PASSWORD: string
}): Promise<DemoUser> {
  const supabase = createClient(env.SUPABASE_URL, env.SUPABASE_ANON_KEY, {
    auth: { persistSession: false, autoRefreshToken: false },
  })
  const credentials = { email: env.DEMO_EMAIL, password: env.DEMO_PASSWORD }
  let { data, error } = await supabase.auth.signInWithPassword(credentials)
  if (error) {
    const signedUp = await supabase.auth.signUp(credentials)
    if (signedUp.error) throw new Error(`The demo user could not be signed up: ${signedUp.error.message}`)
    ;({ data, error } = await supabase.auth.signInWithPassword(credentials))
  }
  if (error || !data.user) throw new Error(`The demo user could not sign in: ${error?.message ?? 'no user'}`)
  return {
    supabase,
    userId: data.user.id,
    async token() {
      const { data: current } = await supabase.auth.getSession()
      if (!current.session) throw new Error('The demo user has no session any more')
      return current.session.access_token
    },
  }
}
