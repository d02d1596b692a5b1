import { createHash, createHmac, createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto'
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
 * Verifies `Upstash-Signature`, a JWT of one algorithm, with Node's own HMAC: jose and the SDK's Receiver import the key and ask the
 * thread pool for every message, which costs more than all else that a delivery does outside of the database. (The Receiver also
 * takes other keys when QSTASH_DEV or QSTASH_REGION is in the environment, and leaves the address unchecked when it is not told one.)
 */
export function createSignatureVerifier(options: SignatureOptions): SignatureVerifier {
  if (options.currentKey === '' || options.nextKey === '') throw new Error('both signing keys are needed')
  const keys = [options.currentKey, options.nextKey].map((key) => createSecretKey(key, 'utf8'))
  const toleranceSeconds = options.clockToleranceSeconds ?? 5

  const isValid = (signature: string, rawBody: string, url: string): boolean => {
    if (signature.length > MAX_SIGNATURE_CHARACTERS || url === '') return false
    const [header, payload, mac, ...rest] = signature.split('.')
    if (header === undefined || payload === undefined || mac === undefined || rest.length > 0) return false
    const { alg, crit } = jsonOf(header)
    // an extension that a token calls critical must be understood, and none is
    if (alg !== 'HS256' || crit !== undefined) return false
    if (!keys.some((key) => isEqual(mac, hmac(key, `${header}.${payload}`)))) return false
    const { iss, sub, iat, nbf, exp, body } = jsonOf(payload)
    const nowSeconds = Math.floor(Date.now() / 1000)
    return (
      iss === 'Upstash' &&
      sub === url &&
      typeof iat === 'number' &&
      typeof nbf === 'number' &&
      nbf <= nowSeconds + toleranceSeconds &&
      typeof exp === 'number' &&
      exp > nowSeconds - toleranceSeconds &&
      typeof body === 'string' &&
      // with or without padding
      isEqual(body.replace(/=+$/, ''), createHash('sha256').update(rawBody).digest('base64url'))
    )
  }
  return { verify: ({ signature, rawBody, url }) => Promise.resolve(isValid(signature, rawBody, url)) }
}

function hmac(key: KeyObject, text: string): string {
  return createHmac('sha256', key).update(text).digest('base64url')
}

function isEqual(given: string, wanted: string): boolean {
  const a = Buffer.from(given)
  const b = Buffer.from(wanted)
  return a.length === b.length && timingSafeEqual(a, b)
}

/** The object that a part of a token is; an empty one, which says nothing, when it is none. */
function jsonOf(part: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString())
    return typeof value === 'object' && value !== null ? { ...value } : {}
  } catch {
    return {}
  }
}
