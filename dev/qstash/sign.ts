import { createHash, randomUUID } from 'node:crypto'
import { SignJWT } from 'jose'

/** How long a signature is good for. */
const SIGNATURE_SECONDS = 300

/**
 * The `Upstash-Signature` of one delivery: HS256 over the destination exactly as it was published and the SHA-256 of the raw
 * body (base64url with padding, as the real one sends it).
 */
export async function signDelivery(delivery: {
  key: string
  url: string
  body: Uint8Array
  nowMs: number
}): Promise<string> {
  const hash = createHash('sha256').update(delivery.body).digest('base64url')
  const issuedAt = Math.floor(delivery.nowMs / 1000)
  return await new SignJWT({ body: hash.padEnd(Math.ceil(hash.length / 4) * 4, '=') })
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .setIssuer('Upstash')
    .setSubject(delivery.url)
    .setIssuedAt(issuedAt)
    .setExpirationTime(issuedAt + SIGNATURE_SECONDS)
    .setNotBefore(0)
    .setJti(`jwt_${randomUUID().replaceAll('-', '')}`)
    .sign(new TextEncoder().encode(delivery.key))
}
