import { errors, type JWTVerifyGetKey } from 'jose'
import type { TrustedIssuer } from '../../core/issuer.ts'
import { createPublishedKeys } from './published-keys.ts'

export interface KeySource {
  algorithms: readonly string[]
  /** Rejects with AppError `unavailable` when the keys cannot be had, with a JOSE error when there is no key for the token. */
  resolve: JWTVerifyGetKey
}

export function createKeySource(issuer: TrustedIssuer, now: () => number): KeySource {
  const { keys } = issuer
  if (keys.kind === 'jwks')
    return { algorithms: keys.algorithms, resolve: createPublishedKeys(new URL(keys.url), { now }) }
  const secret = new TextEncoder().encode(keys.secret)
  return {
    algorithms: ['HS256'],
    resolve: () => {
      if (now() >= keys.until) throw new errors.JWKSNoMatchingKey()
      return secret
    },
  }
}
