import { createHash, timingSafeEqual } from 'node:crypto'
import { jwtVerify } from 'jose/jwt/verify'
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
 * Verifies `Upstash-Signature`, a JWT over the body's hash. Not with the SDK's Receiver: it takes other keys when QSTASH_DEV or
 * QSTASH_REGION is in the environment, and leaves the address unchecked when it is not told one.
 */
export function createSignatureVerifier(options: SignatureOptions): SignatureVerifier {
  if (options.currentKey === '' || options.nextKey === '') throw new Error('both signing keys are needed')
  const keys = [options.currentKey, options.nextKey].map((key) => importKey(key))

  const isSigned = async (key: Promise<CryptoKey>, signature: string, rawBody: string, url: string) => {
    try {
      const { payload } = await jwtVerify(signature, await key, {
        algorithms: ['HS256'],
        issuer: 'Upstash',
        subject: url,
        clockTolerance: options.clockToleranceSeconds ?? 5,
        requiredClaims: ['iat', 'nbf', 'exp', 'body'],
      })
      const { body } = payload
      // with or without padding
      return typeof body === 'string' && isEqual(body.replace(/=+$/, ''), hashOf(rawBody))
    } catch {
      return false
    }
  }
  return {
    async verify({ signature, rawBody, url }) {
      if (signature.length > MAX_SIGNATURE_CHARACTERS || url === '') return false
      for (const key of keys) if (await isSigned(key, signature, rawBody, url)) return true
      return false
    },
  }
}

function importKey(key: string): Promise<CryptoKey> {
  return crypto.subtle.importKey('raw', Buffer.from(key), { name: 'HMAC', hash: 'SHA-256' }, false, [
    'verify',
  ])
}

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('base64url')
}

function isEqual(given: string, wanted: string): boolean {
  const a = Buffer.from(given)
  const b = Buffer.from(wanted)
  return a.length === b.length && timingSafeEqual(a, b)
}
