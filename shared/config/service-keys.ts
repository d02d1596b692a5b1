/** Roles of a Supabase project that row security does not bind, or that can become one. */
const BYPASSING: ReadonlySet<string> = new Set([
  'service_role',
  'postgres',
  'supabase_admin',
  'supabase_auth_admin',
  'supabase_storage_admin',
  'authenticator',
  'agent_engine',
])

/**
 * The role that a credential is of, when it is one that could step around row security; null for every other. A first look that needs
 * no call: whether a narrow role is really narrow only the database knows (agent_ready).
 */
export function bypassingRole(credential: string): string | null {
  if (credential.startsWith('sb_secret_')) return 'service_role'
  const role = credential.includes('://') ? userOf(credential) : roleClaimOf(credential)
  return role !== null && BYPASSING.has(role) ? role : null
}

/** Poolers take the project's name behind the role: `postgres.abcdefgh`. */
function userOf(connection: string): string | null {
  if (!URL.canParse(connection)) return null
  return decodeURIComponent(new URL(connection).username).split('.')[0] ?? null
}

function roleClaimOf(token: string): string | null {
  try {
    const payload: unknown = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString())
    if (typeof payload !== 'object' || payload === null || !('role' in payload)) return null
    return typeof payload.role === 'string' ? payload.role : null
  } catch {
    return null
  }
}
