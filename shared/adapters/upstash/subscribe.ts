export interface SubscribeOptions {
  url: string
  token: string
  channel: string
  signal: AbortSignal
  onReady?: (() => void) | undefined
  /** Until the subscription is confirmed. */
  connectTimeoutMs: number
  /** Without a line for this long the connection counts as lost: a half-open one never says so. */
  idleTimeoutMs: number
}

/** A longer line is not ours, and must not be gathered in memory. */
const MAX_LINE_CHARACTERS = 1024 * 1024

/**
 * Payloads of one channel as they come, until the connection ends; throws when it fails. Own fetch instead of the SDK's subscribe(),
 * which (1.39.0) emits nothing when the stream ends, so that a reader would wait for ever, prints read errors to the console, and
 * cuts a payload at JSON guesses.
 */
export async function* subscribeSse(options: SubscribeOptions): AsyncGenerator<string> {
  const lost = new AbortController()
  const signal = AbortSignal.any([options.signal, lost.signal])
  let timer = setTimeout(() => lost.abort(), options.connectTimeoutMs)
  const alive = () => {
    clearTimeout(timer)
    timer = setTimeout(() => lost.abort(), options.idleTimeoutMs)
  }
  try {
    const response = await fetch(`${options.url}/subscribe/${encodeURIComponent(options.channel)}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${options.token}`, accept: 'text/event-stream' },
      redirect: 'error',
      signal,
    })
    if (!response.ok || !response.body) {
      await response.body?.cancel()
      throw new Error(`subscribe was answered ${response.status}`)
    }
    const confirmed = `data: subscribe,${options.channel},`
    const message = `data: message,${options.channel},`
    let confirmedOnce = false
    let rest = ''
    for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
      if (confirmedOnce) alive()
      const lines = (rest + chunk).split('\n')
      rest = lines.pop() ?? ''
      if (rest.length > MAX_LINE_CHARACTERS) throw new Error('line is too long')
      for (const line of lines) {
        if (line.startsWith(message)) yield line.slice(message.length).replace(/\r$/, '')
        else if (!confirmedOnce && line.startsWith(confirmed)) {
          confirmedOnce = true
          alive()
          options.onReady?.()
        }
      }
    }
  } finally {
    clearTimeout(timer)
    // Ends the request when the reader stops in the middle.
    lost.abort()
  }
}
