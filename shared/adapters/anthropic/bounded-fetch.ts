/** Bytes of an error body that are read: Anthropic's are about 200 bytes, a proxy's HTML page may be anything. */
const MAX_ERROR_BODY_BYTES = 64 * 1024

export class ResponseTooLarge extends Error {}

/**
 * `fetch` that stops reading after `maxBytes` and reports every piece that arrives. Pieces, not events: the API sends `ping`s
 * while a model thinks, and the SDK swallows them, so only here can a thinking model be told from a silent one.
 * Redirects are refused: the API has none, and following one would carry the prompts to another origin.
 */
export function boundedFetch(options: { maxBytes: number; onBytes: () => void }): typeof fetch {
  return async (input, init) => {
    const response = await fetch(input, { ...init, redirect: 'error' })
    options.onBytes()
    if (response.body === null) return response
    const limit = response.ok ? options.maxBytes : Math.min(options.maxBytes, MAX_ERROR_BODY_BYTES)
    let total = 0
    const counted = response.body.pipeThrough(
      new TransformStream<Uint8Array, Uint8Array>({
        transform(chunk, controller) {
          options.onBytes()
          total += chunk.byteLength
          if (total > limit) controller.error(new ResponseTooLarge(`response is larger than ${limit} bytes`))
          else controller.enqueue(chunk)
        },
      }),
    )
    return new Response(counted, {
      status: response.status,
      statusText: response.statusText,
      headers: response.headers,
    })
  }
}
