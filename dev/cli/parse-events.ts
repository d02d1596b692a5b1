export interface ServerEvent {
  id: string | undefined
  event: string
  data: string
}

/** An event is one row or delta; the largest (a step with its output) is far below this. */
const MAX_EVENT_CHARS = 8_000_000

/** Reads text/event-stream as the HTML standard says, comments left out. Throws when one event is larger than 8 million characters. */
export async function* parseEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerEvent> {
  let rest = ''
  let id: string | undefined
  let event = ''
  let data: string[] = []
  let size = 0
  const decoder = new TextDecoder()
  for await (const chunk of body) {
    rest += decoder.decode(chunk, { stream: true })
    // A carriage return at the very end may be the first half of a line end.
    const complete = rest.endsWith('\r') ? rest.length - 1 : rest.length
    const lines = rest.slice(0, complete).split(/\r\n|\r|\n/)
    rest = (lines.pop() ?? '') + rest.slice(complete)
    for (const line of lines) {
      if (line === '') {
        if (data.length > 0) yield { id, event: event || 'message', data: data.join('\n') }
        event = ''
        data = []
        size = 0
        continue
      }
      const colon = line.indexOf(':')
      if (colon === 0) continue
      const field = colon < 0 ? line : line.slice(0, colon)
      const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1)
      size += value.length
      if (field === 'event') event = value
      else if (field === 'data') data.push(value)
      else if (field === 'id' && !value.includes('\0')) id = value
    }
    if (rest.length + size > MAX_EVENT_CHARS)
      throw new Error(`An event is larger than ${MAX_EVENT_CHARS} characters`)
  }
}
