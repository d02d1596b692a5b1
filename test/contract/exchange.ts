/** One request and its answer, as the check against the OpenAPI document reads them. */
export interface Exchange {
  method: string
  /** Without its query. */
  path: string
  status: number
  /** Media type of the answer without parameters; empty: none. */
  type: string
  /** Text of the answer; null for a stream, which is checked frame by frame by its reader. */
  text: string | null
  headers: Headers
}

/** The global fetch that also keeps what was said. Streams are passed on as they come. */
export function recordingFetch(exchanges: Exchange[]): typeof fetch {
  return async (input, init) => {
    const answer = await fetch(input, init)
    const type = (answer.headers.get('content-type') ?? '').split(';', 1)[0]?.trim() ?? ''
    const { url, method } = input instanceof Request ? input : { url: String(input), method: init?.method }
    const exchange: Exchange = {
      method: (method ?? 'GET').toUpperCase(),
      path: new URL(url).pathname,
      status: answer.status,
      type,
      text: null,
      headers: answer.headers,
    }
    exchanges.push(exchange)
    if (type === 'text/event-stream' || answer.body === null) return answer
    const bytes = await answer.arrayBuffer()
    exchange.text = new TextDecoder().decode(bytes)
    const { status, statusText, headers } = answer
    return new Response(bytes, { status, statusText, headers })
  }
}
