import { decodeProtectedHeader, errors, jwtVerify, SignJWT } from 'jose'
import type { CallerClaims } from './caller.ts'
import type { Keys } from './keys.ts'

/** `expired` is told apart because clients refresh on it. */
export class TokenError extends Error {
  readonly reason: 'malformed' | 'invalid' | 'expired'

  constructor(reason: 'malformed' | 'invalid' | 'expired') {
    super(reason === 'expired' ? 'JWT expired' : 'JWT invalid')
    this.name = 'TokenError'
    this.reason = reason
  }
}

export type Signing = 'ES256' | 'HS256'

export interface Tokens {
  issuer: string
  /** Signs claims as they are; `exp` and `iat` are set from `lifetimeSeconds`. */
  sign(
    claims: Record<string, unknown>,
    options: { lifetimeSeconds: number; signing?: Signing },
  ): Promise<string>
  /** Checks the signature and the times. A token without `role` is anon's, as for PostgREST. @throws TokenError */
  verify(token: string): Promise<CallerClaims>
}

// A token is a few hundred bytes; one of megabytes is an attack on the parser.
const MAX_TOKEN_CHARACTERS = 16_384

export function tokens(keys: Keys, issuer: string, userSigning: Signing): Tokens {
  return {
    issuer,
    sign: (claims, { lifetimeSeconds, signing = userSigning }) => {
      const now = Math.floor(Date.now() / 1000)
      const jwt = new SignJWT({ ...claims, iat: now, exp: now + lifetimeSeconds })
      if (signing === 'HS256')
        return jwt.setProtectedHeader({ alg: 'HS256', typ: 'JWT' }).sign(keys.legacySecret)
      return jwt.setProtectedHeader({ alg: 'ES256', typ: 'JWT', kid: keys.kid }).sign(keys.privateKey)
    },
    verify: async (token) => {
      if (token.length > MAX_TOKEN_CHARACTERS) throw new TokenError('malformed')
      const claims = await verifyClaims(keys, token)
      return { role: typeof claims.role === 'string' && claims.role !== '' ? claims.role : 'anon', claims }
    },
  }
}

async function verifyClaims(keys: Keys, token: string): Promise<Record<string, unknown>> {
  try {
    const { alg } = decodeProtectedHeader(token)
    // Each algorithm has its own kind of key: a public key can never serve as an HS256 secret.
    if (alg === 'ES256') return (await jwtVerify(token, keys.publicKey, { algorithms: ['ES256'] })).payload
    if (alg === 'HS256') return (await jwtVerify(token, keys.legacySecret, { algorithms: ['HS256'] })).payload
  } catch (error) {
    if (error instanceof errors.JWTExpired) throw new TokenError('expired')
    if (error instanceof errors.JOSEError) throw new TokenError('invalid')
    throw new TokenError('malformed')
  }
  throw new TokenError('invalid')
}

/** The API key of a role: an HS256 token as legacy hosted projects have it, the same at every start, valid for ten years. */
export function apiKey(keys: Keys, role: 'anon' | 'service_role'): Promise<string> {
  const lifetimeSeconds = 10 * 365 * 24 * 3600
  return new SignJWT({
    iss: 'supabase',
    ref: 'local',
    role,
    iat: keys.createdAt,
    exp: keys.createdAt + lifetimeSeconds,
  })
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .sign(keys.legacySecret)
}
