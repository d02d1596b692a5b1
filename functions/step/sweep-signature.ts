import { createHmac, timingSafeEqual } from 'node:crypto'

/** Clocks of the database and of this pod may differ, and a call may wait for a cold start. */
const TOLERANCE_SECONDS = 300

/** Hex HMAC-SHA-256 of `<timestamp>.<body>`, timestamp in Unix seconds. A replay within the tolerance only sweeps once more. */
export function isSweepSignature(
  secret: string,
  { timestamp, body, signature }: { timestamp: string; body: string; signature: string },
  nowSeconds: number,
): boolean {
  if (!/^\d{1,12}$/.test(timestamp) || Math.abs(nowSeconds - Number(timestamp)) > TOLERANCE_SECONDS)
    return false
  const expected = Buffer.from(createHmac('sha256', secret).update(`${timestamp}.${body}`).digest('hex'))
  const given = Buffer.from(signature)
  return given.length === expected.length && timingSafeEqual(given, expected)
}
