import { errors, type JWTVerifyGetKey } from 'jose'
import type { TrustedIssuer } from '../../core/issuer.ts'
import { createPublishedKeys } from './published-keys.ts'

export interface KeySource {
  algorithms: readonly string[]
  /** Rejects with AppError `unavailable` when the keys cannot be had, with a JOSE error when there is no key for the token. */
  resolve: JWTVerifyGetKey
  /** Has what `resolve` needs at hand soon; never rejects. */
  warm?: () => Promise<void>
}

export function createKeySource(issuer: TrustedIssuer, now: () => number): KeySource {
  const { keys } = issuer
  if (keys.kind === 'jwks') {
    const published = createPublishedKeys(new URL(keys.url), { now })
    return { algorithms: keys.algorithms, resolve: published, warm: () => published.warm() }
  }
  const secret = new TextEncoder().encode(keys.secret)
  return {
    algorithms: ['HS256'],
    resolve: () => {
      if (now() >= keys.until) throw new errors.JWKSNoMatchingKey()
      return secret
    },
  }
}
