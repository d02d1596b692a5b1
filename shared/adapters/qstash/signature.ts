import { createHash, timingSafeEqual } from 'node:crypto'
import { jwtVerify } from 'jose'
import type { SignatureVerifier } from '../../ports/scheduler.ts'

export interface SignatureOptions {
  /** Signing keys as QStash shows them (`sig_…`). The next one is accepted too, so that rolling needs no downtime. */
  currentKey: string
  nextKey: string
  /** Clock difference that is forgiven. Default 5 s; signatures live 5 minutes. */
  clockToleranceSeconds?: number
}

/** A real one has about 450 characters. */
const MAX_SIGNATURE_CHARACTERS = 4096

/**
 * Verifies `Upstash-Signature` with jose and not with the SDK's Receiver: that one takes other keys when QSTASH_DEV or
 * QSTASH_REGION is in the environment, and leaves the address unchecked when it is not told one. Ours reads no environment.
 */
export function createSignatureVerifier(options: SignatureOptions): SignatureVerifier {
  if (options.currentKey === '' || options.nextKey === '') throw new Error('both signing keys are needed')
  const keys = [options.currentKey, options.nextKey].map((key) => new TextEncoder().encode(key))
  const clockTolerance = options.clockToleranceSeconds ?? 5

  return {
    async verify({ signature, rawBody, url }) {
      if (signature === '' || signature.length > MAX_SIGNATURE_CHARACTERS || url === '') return false
      for (const key of keys) {
        try {
          const { payload } = await jwtVerify(signature, key, {
            algorithms: ['HS256'],
            issuer: 'Upstash',
            subject: url,
            requiredClaims: ['exp', 'iat', 'nbf', 'body'],
            clockTolerance,
          })
          return typeof payload.body === 'string' && isHashOf(payload.body, rawBody)
        } catch {
          // Not this key, or not valid at all: the next key decides.
        }
      }
      return false
    },
  }
}

/** The claim is base64url, with or without padding. */
function isHashOf(claim: string, rawBody: string): boolean {
  const given = Buffer.from(claim.replace(/=+$/, ''))
  const wanted = Buffer.from(createHash('sha256').update(rawBody).digest('base64url'))
  return given.length === wanted.length && timingSafeEqual(given, wanted)
}
