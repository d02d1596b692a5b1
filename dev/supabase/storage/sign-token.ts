import { errors, jwtVerify, SignJWT } from 'jose'
import { StorageError } from './errors.ts'

export interface Signer {
  sign(claims: Record<string, unknown>, lifetimeSeconds: number): Promise<string>
  /** @throws StorageError InvalidJWT */
  verify(token: string): Promise<Record<string, unknown>>
}

/** Tokens of signed URLs: HS256 under a secret of Storage's own, so that they are no good anywhere else. */
export function signer(secret: Uint8Array): Signer {
  return {
    sign: (claims, lifetimeSeconds) => {
      const now = Math.floor(Date.now() / 1000)
      return new SignJWT({ ...claims, iat: now, exp: now + lifetimeSeconds })
        .setProtectedHeader({ alg: 'HS256' })
        .sign(secret)
    },
    verify: async (token) => {
      try {
        return (await jwtVerify(token, secret, { algorithms: ['HS256'] })).payload
      } catch (error) {
        const expired = error instanceof errors.JWTExpired
        throw new StorageError(
          400,
          'InvalidJWT',
          expired ? '"exp" claim timestamp check failed' : 'invalid signature',
        )
      }
    },
  }
}
