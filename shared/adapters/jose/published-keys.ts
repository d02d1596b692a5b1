import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose'
import { AppError } from '../../core/errors.ts'
import { fetchKeys } from './fetch-keys.ts'

/** Keys older than this are fetched anew, so that a key which its issuer has withdrawn is not believed for longer. */
const MAX_AGE_MS = 10 * 60_000
/** While an issuer cannot be reached its last keys go on: for the life of a token, as nobody can get a new one there meanwhile. */
const MAX_STALE_MS = 60 * 60_000
/** An unknown `kid` may be a new key; made-up ones must not turn every request into a fetch. */
const COOLDOWN_MS = 30_000
/** So long a dead address is not asked again; short, because until then users without known keys are sent away. */
const FAILURE_PAUSE_MS = 3000

interface Known {
  find: JWTVerifyGetKey
  at: number
}

/**
 * The keys of one issuer, fetched when they are needed and kept. Not jose's remote set: that one asks a dead address for every token,
 * and forgets keys that it could not renew.
 *
 * The function rejects with AppError `unavailable` when the keys cannot be had, with a JOSE error when none is the token's.
 */
export function createPublishedKeys(
  url: URL,
  {
    now,
    fetch = fetchKeys,
  }: { now: () => number; fetch?: ((url: URL) => Promise<JSONWebKeySet>) | undefined },
): JWTVerifyGetKey & { warm(): Promise<void> } {
  let known: Known | undefined
  let renewing: Promise<Known> | undefined
  let pausedUntil = 0

  /** All who wait for keys share one fetch. */
  const renew = (): Promise<Known> => {
    if (now() < pausedUntil) return Promise.reject(keysUnavailable())
    renewing ??= fetch(url)
      .then((set) => {
        known = { find: createLocalJWKSet(set), at: now() }
        return known
      })
      .catch((error: unknown) => {
        pausedUntil = now() + FAILURE_PAUSE_MS
        throw keysUnavailable(error)
      })
      .finally(() => {
        renewing = undefined
      })
    return renewing
  }

  const current = async (): Promise<Known> => {
    const kept = known
    if (kept !== undefined && now() < kept.at + MAX_AGE_MS) return kept
    return renew().catch((error: unknown) => {
      if (kept !== undefined && now() < kept.at + MAX_STALE_MS) return kept
      throw error
    })
  }

  const find: JWTVerifyGetKey = async (header, token) => {
    // Revocation goes by the key's name, and a name left out must not be a way around it.
    if (header?.kid === undefined) throw new errors.JWKSNoMatchingKey()
    const keys = await current()
    try {
      return await keys.find(header, token)
    } catch (error) {
      const isUnknown = error instanceof errors.JWKSNoMatchingKey
      if (!isUnknown || now() < keys.at + COOLDOWN_MS) throw error
    }
    return (await renew()).find(header, token)
  }
  return Object.assign(find, {
    /** Fetches the keys before the first token comes. When that fails the first token has them fetched again, without a pause. */
    async warm(): Promise<void> {
      await renew().catch(() => {
        pausedUntil = 0
      })
    },
  })
}

function keysUnavailable(cause?: unknown): AppError {
  return new AppError('unavailable', 'The keys of the token issuer cannot be had now', {
    retryAfterSeconds: FAILURE_PAUSE_MS / 1000,
    cause,
  })
}
