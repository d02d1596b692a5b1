import { importJWK, type JWK, SignJWT } from 'jose'
import { Refusal } from './refusal.ts'

/** A year: long enough to be no monthly chore, short enough that a lost token ends. `--check` says when it is near. */
export const ROLE_TOKEN_DAYS = 365

/**
 * A token for one database role, for ever bound to it.
 *
 * @param key private JWK of the project (`supabase gen signing-key`, imported there and then set aside), or its legacy JWT secret
 */
export async function signRoleToken(key: string, role: string, supabaseUrl: string): Promise<string> {
  const { secret, header } = await readKey(key)
  return new SignJWT({ role })
    .setProtectedHeader({ ...header, typ: 'JWT' })
    .setIssuer(`${supabaseUrl}/auth/v1`)
    .setIssuedAt()
    .setExpirationTime(`${ROLE_TOKEN_DAYS}d`)
    .sign(secret)
}

async function readKey(key: string): Promise<{
  secret: Awaited<ReturnType<typeof importJWK>>
  header: { alg: string; kid?: string }
}> {
  if (!key.trimStart().startsWith('{')) {
    // a legacy secret of a hosted project has 40 characters or more
    if (key.length < 32)
      throw new Refusal(
        'SUPABASE_SIGNING_KEY is neither a private JWK nor a JWT secret (32 characters or more).',
      )
    return { secret: new TextEncoder().encode(key), header: { alg: 'HS256' } }
  }
  try {
    const jwk = JSON.parse(key) as JWK
    const alg = jwk.alg ?? 'ES256'
    if (jwk.d === undefined && jwk.k === undefined) throw new Error('public')
    return {
      secret: await importJWK(jwk, alg),
      header: { alg, ...(jwk.kid === undefined ? {} : { kid: jwk.kid }) },
    }
  } catch {
    throw new Refusal(
      'SUPABASE_SIGNING_KEY is no private JWK: paste what `supabase gen signing-key` made, on one line.',
    )
  }
}
