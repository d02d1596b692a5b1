/** How a function reaches its Supabase project. */
export function supabaseOptions(config: {
  supabaseUrl: string
  supabaseAnonKey: string
  supabaseRoleToken: string
  storeTimeoutSeconds: number
}): { url: string; anonKey: string; roleToken: string; timeoutMs: number } {
  return {
    url: config.supabaseUrl,
    anonKey: config.supabaseAnonKey,
    roleToken: config.supabaseRoleToken,
    timeoutMs: config.storeTimeoutSeconds * 1000,
  }
}
