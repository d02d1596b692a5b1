import type { JSONWebKeySet } from 'jose'

const TIMEOUT_MS = 5000
/** A key takes about 300 bytes; an answer of megabytes is no key set. */
const MAX_BYTES = 256 * 1024

/** What an issuer publishes, unchecked. Follows no redirect: the address in the configuration is the one that is trusted. */
export async function fetchKeys(url: URL): Promise<JSONWebKeySet> {
  const answer = await fetch(url, {
    signal: AbortSignal.timeout(TIMEOUT_MS),
    redirect: 'manual',
    headers: { accept: 'application/json' },
  })
  if (answer.status !== 200) {
    await answer.body?.cancel()
    throw new Error(`${url.origin} answered ${answer.status} instead of its keys`)
  }
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of answer.body ?? []) {
    bytes += chunk.byteLength
    if (bytes > MAX_BYTES) throw new Error(`${url.origin} answered more than ${MAX_BYTES} bytes for its keys`)
    chunks.push(chunk)
  }
  return JSON.parse(Buffer.concat(chunks).toString()) as JSONWebKeySet
}
