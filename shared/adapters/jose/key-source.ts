import { createLocalJWKSet, createRemoteJWKSet, errors, type JWTVerifyGetKey } from 'jose'
import { AppError } from '../../core/errors.ts'
import type { TrustedIssuer } from '../../core/issuer.ts'

export interface KeySource {
  algorithms: readonly string[]
  /** Rejects with AppError `unavailable` when the keys cannot be had, with a JOSE error when there is no key for the token. */
  resolve: JWTVerifyGetKey
}

const JWKS_TIMEOUT_MS = 5000
/** jose asks a dead address again for every token; for so long it is not asked. */
const FAILURE_PAUSE_MS = 3000

export function createKeySource(issuer: TrustedIssuer, now: () => number): KeySource {
  const { keys } = issuer
  if (keys.kind === 'jwks')
    return { algorithms: keys.algorithms, resolve: remoteKeys(new URL(keys.url), now) }
  const secret = new TextEncoder().encode(keys.secret)
  return {
    algorithms: ['HS256'],
    resolve: () => {
      if (now() >= keys.until) throw new errors.JWKSNoMatchingKey()
      return secret
    },
  }
}

function remoteKeys(url: URL, now: () => number): JWTVerifyGetKey {
  const remote = createRemoteJWKSet(url, { timeoutDuration: JWKS_TIMEOUT_MS })
  let pausedUntil = 0

  return async (header, token) => {
    if (now() < pausedUntil) {
      // Tokens with a made-up `kid` must not shut out users whose keys are known.
      const known = remote.fresh ? remote.jwks() : undefined
      if (known?.keys.some((key) => key.kid !== undefined && key.kid === header.kid))
        return createLocalJWKSet(known)(header, token)
      throw keysUnavailable()
    }
    try {
      return await remote(header, token)
    } catch (error) {
      if (error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys)
        throw error
      if (isKeyFault(error)) throw error
      pausedUntil = now() + FAILURE_PAUSE_MS
      throw keysUnavailable(error)
    }
  }
}

/** Faults of the token or of one key, told from faults of getting the keys. */
function isKeyFault(error: unknown): boolean {
  return error instanceof errors.JOSENotSupported || error instanceof errors.JOSEAlgNotAllowed
}

function keysUnavailable(cause?: unknown): AppError {
  return new AppError('unavailable', 'The keys of the token issuer cannot be had now', {
    retryAfterSeconds: FAILURE_PAUSE_MS / 1000,
    cause,
  })
}
