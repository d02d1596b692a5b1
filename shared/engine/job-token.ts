import { createHash, createHmac, timingSafeEqual } from 'node:crypto'

export interface JobId {
  runId: string
  stepNumber: number
}

/**
 * The one-time token of a step's job. Derived, not drawn: a step that parks, dies and parks again hands out the same token, so a
 * job that was made by the first attempt is still the awaited one. Used up when its wait ends.
 */
export function jobToken(secret: string, { runId, stepNumber }: JobId, epoch: number): string {
  return createHmac('sha256', secret).update(`job\n${runId}\n${stepNumber}\n${epoch}`).digest('base64url')
}

/** Derived from run and step: making a job twice adopts the first. */
export function jobName({ runId, stepNumber }: JobId): string {
  return `run-${runId}-${stepNumber}`
}

export function sha256Hex(text: string | Uint8Array): string {
  return createHash('sha256').update(text).digest('hex')
}

/** Says that the door has verified these bytes for this job: a manifest may name their hash. */
export function blobReceipt(
  secret: string,
  { runId, stepNumber }: JobId,
  sha256: string,
  size: number,
): string {
  return createHmac('sha256', secret)
    .update(`blob\n${runId}\n${stepNumber}\n${sha256}\n${size}`)
    .digest('base64url')
}

export function isBlobReceipt(
  secret: string,
  job: JobId,
  sha256: string,
  size: number,
  receipt: string,
): boolean {
  const expected = Buffer.from(blobReceipt(secret, job, sha256, size))
  const given = Buffer.from(receipt)
  return expected.length === given.length && timingSafeEqual(expected, given)
}
