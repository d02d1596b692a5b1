/** What a command answers. A status (`OK`, `PONG`) is a string like any other over REST, but not in RESP. */
export type Reply = string | number | null | Status | Reply[]

export class Status {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

export const OK = new Status('OK')

/** An error answer; the message starts with its code, such as `ERR` or `WRONGTYPE`. */
export class RedisError extends Error {}

/** The JSON of `result`. With base64 every string but `OK` is encoded, at any depth: that is how the client tells bytes from text. */
export function toJson(reply: Reply, base64: boolean): unknown {
  if (Array.isArray(reply)) return reply.map((item) => toJson(item, base64))
  const text = reply instanceof Status ? reply.text : reply
  return typeof text === 'string' && base64 && text !== 'OK' ? Buffer.from(text).toString('base64') : text
}

/** The same in RESP2, for `Upstash-Response-Format: resp2`. */
export function toResp(reply: Reply | RedisError): string {
  if (reply instanceof RedisError) return `-${reply.message}\r\n`
  if (reply instanceof Status) return `+${reply.text}\r\n`
  if (reply === null) return '$-1\r\n'
  if (typeof reply === 'number') return `:${reply}\r\n`
  if (typeof reply === 'string') return `$${Buffer.byteLength(reply)}\r\n${reply}\r\n`
  return `*${reply.length}\r\n${reply.map(toResp).join('')}`
}
