import { decodeJwt, decodeProtectedHeader, type JWTPayload, jwtVerify } from 'jose'
import { AppError } from '../../core/errors.ts'
import type { TrustedIssuer } from '../../core/issuer.ts'
import { isUuid } from '../../core/uuid.ts'
import type { Caller, Identity } from '../../ports/identity.ts'
import { createKeySource, type KeySource } from './key-source.ts'

/** Supabase's tokens have about 1 KB; 8 KiB leaves room for claims and bounds what is decoded for strangers. */
const MAX_TOKEN_BYTES = 8 * 1024
/** Clocks of two services apart by more than seconds are a fault, not a tolerance. */
const CLOCK_TOLERANCE_SECONDS = 5

/** The same for every refused token, so that nobody learns which check it failed. */
export function unauthorized(cause?: unknown): AppError {
  return new AppError('unauthorized', 'Unauthorized', { cause })
}

/**
 * Verifies access tokens of the trusted issuers. `iss` is read unverified only to pick a row; keys, algorithms and addresses come
 * from the row, never from the token. Anon and service-role keys are valid tokens but no users: refused.
 *
 * @param options.warm fetches every issuer's keys at once, beside the rest of a start, and not when the first token waits for them
 */
export function createIdentity(
  issuers: readonly TrustedIssuer[],
  { now = Date.now, warm = false }: { now?: () => number; warm?: boolean } = {},
): Identity {
  const rows = issuers.map((issuer) => ({ issuer, keys: createKeySource(issuer, now) }))
  if (warm) for (const { keys } of rows) void keys.warm?.()

  return {
    async verify(accessToken) {
      const { algorithm, keyId, name } = peek(accessToken)
      const row = rows.find(
        ({ issuer, keys }) => issuer.issuer === name && keys.algorithms.includes(algorithm),
      )
      if (row === undefined) throw unauthorized()
      const payload = await verifyWith(row.keys, row.issuer, accessToken, now)
      return toCaller(payload, row.issuer, { accessToken, keyId: keyId ?? algorithm })
    },
  }
}

function peek(token: string): { algorithm: string; keyId: string | undefined; name: string } {
  if (token.length > MAX_TOKEN_BYTES) throw unauthorized()
  try {
    const { alg, kid } = decodeProtectedHeader(token)
    const { iss } = decodeJwt(token)
    if (typeof alg === 'string' && typeof iss === 'string') return { algorithm: alg, keyId: kid, name: iss }
  } catch (error) {
    throw unauthorized(error)
  }
  throw unauthorized()
}

async function verifyWith(
  keys: KeySource,
  issuer: TrustedIssuer,
  token: string,
  now: () => number,
): Promise<JWTPayload> {
  try {
    const { payload } = await jwtVerify(token, keys.resolve, {
      algorithms: [...keys.algorithms],
      issuer: issuer.issuer,
      audience: issuer.audience,
      requiredClaims: ['exp', 'sub'],
      clockTolerance: CLOCK_TOLERANCE_SECONDS,
      currentDate: new Date(now()),
    })
    return payload
  } catch (error) {
    if (error instanceof AppError) throw error
    throw unauthorized(error)
  }
}

function toCaller(
  payload: JWTPayload,
  issuer: TrustedIssuer,
  { accessToken, keyId }: { accessToken: string; keyId: string },
): Caller {
  const { sub, exp, role } = payload
  if (role !== 'authenticated' || !isUuid(sub) || exp === undefined) throw unauthorized()
  return {
    issuer: issuer.issuer,
    sub: sub.toLowerCase(),
    tenant_id: tenantOf(payload, issuer.tenantClaim),
    user_id_from: issuer.userIdFrom,
    key_id: keyId,
    accessToken,
    expiresAt: exp,
    projectUrl: issuer.projectUrl,
    projectKey: issuer.projectKey,
  }
}

/** Only app_metadata: users can edit their user_metadata. */
function tenantOf(payload: JWTPayload, claim: string | null): string | null {
  const metadata = payload.app_metadata
  if (claim === null || typeof metadata !== 'object' || metadata === null || !Object.hasOwn(metadata, claim))
    return null
  const value = (metadata as Record<string, unknown>)[claim]
  return isUuid(value) ? value.toLowerCase() : null
}
