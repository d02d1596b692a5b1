export interface ServerEvent {
  /** The last id so far, as the standard has it. */
  id: string | undefined
  data: string
  /** Milliseconds after which the server wants to see us again. */
  retry: number | undefined
}

/** The largest event, a step with its whole output, is far below this. */
const MAX_EVENT_CHARACTERS = 8_000_000

/** Reads text/event-stream as the HTML standard says. An event cut off in the middle never happened, its id neither. */
export async function* parseEvents(
  read: () => Promise<{ done: boolean; value?: Uint8Array | undefined }>,
): AsyncGenerator<ServerEvent, void> {
  const decoder = new TextDecoder()
  let rest = ''
  let id: string | undefined
  let retry: number | undefined
  let data: string[] = []
  let size = 0
  for (;;) {
    const { done, value } = await read()
    if (done) return
    rest += decoder.decode(value, { stream: true })
    // A carriage return at the end may be half of a line end.
    const complete = rest.endsWith('\r') ? rest.length - 1 : rest.length
    const lines = rest.slice(0, complete).split(/\r\n|\r|\n/)
    rest = (lines.pop() ?? '') + rest.slice(complete)
    if (rest.length + size > MAX_EVENT_CHARACTERS) throw new Error('An event is too large')
    for (const line of lines) {
      if (line === '') {
        if (data.length > 0 || retry !== undefined) yield { id, data: data.join('\n'), retry }
        data = []
        retry = undefined
        size = 0
        continue
      }
      const [, field, content = ''] = /^([^:]*)(?:: ?([\s\S]*))?$/.exec(line) ?? []
      size += content.length
      if (field === 'data') data.push(content)
      else if (field === 'id' && !content.includes('\0')) id = content
      else if (field === 'retry' && /^\d+$/.test(content)) retry = Number(content)
    }
  }
}
