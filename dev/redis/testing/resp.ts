import { connect, type Socket } from 'node:net'

export type RespValue = string | number | null | RespError | RespValue[]

export class RespError extends Error {}

interface Waiting {
  resolve: (value: RespValue) => void
  reject: (error: Error) => void
}

/** A minimal RESP2 client over one connection: enough to drive a real redis-server in tests. */
export class RespClient {
  readonly #socket: Socket
  readonly #waiting: Waiting[] = []
  /** Called for what nobody waits for: pushed messages of a subscription. */
  onPush: (value: RespValue) => void = () => undefined
  #buffer = Buffer.alloc(0)

  constructor(socket: Socket) {
    this.#socket = socket
    socket.setNoDelay(true)
    socket.on('data', (chunk) => this.#read(chunk))
    const fail = () => {
      for (const waiting of this.#waiting.splice(0)) waiting.reject(new Error('connection closed'))
    }
    socket.on('error', fail)
    socket.on('close', fail)
  }

  static open(port: number): Promise<RespClient> {
    return new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1', () => resolve(new RespClient(socket)))
      socket.once('error', reject)
    })
  }

  /** Resolves with a RespError for an error answer; rejects when the connection breaks. */
  call(args: string[]): Promise<RespValue> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject })
      const parts = args.map((arg) => `$${Buffer.byteLength(arg)}\r\n${arg}\r\n`)
      this.#socket.write(`*${args.length}\r\n${parts.join('')}`)
    })
  }

  close(): void {
    this.#socket.destroy()
  }

  #read(chunk: Buffer): void {
    this.#buffer = Buffer.concat([this.#buffer, chunk])
    for (;;) {
      const parsed = parse(this.#buffer, 0)
      if (!parsed) return
      this.#buffer = this.#buffer.subarray(parsed.end)
      const waiting = this.#waiting.shift()
      if (waiting) waiting.resolve(parsed.value)
      else this.onPush(parsed.value)
    }
  }
}

function parse(bytes: Buffer, at: number): { value: RespValue; end: number } | null {
  const lineEnd = bytes.indexOf('\r\n', at)
  if (lineEnd < 0) return null
  const text = bytes.toString('utf8', at + 1, lineEnd)
  let end = lineEnd + 2
  switch (String.fromCharCode(bytes[at] ?? 0)) {
    case '+':
      return { value: text, end }
    case '-':
      return { value: new RespError(text), end }
    case ':':
      return { value: Number(text), end }
    case '$': {
      const length = Number(text)
      if (length < 0) return { value: null, end }
      if (bytes.length < end + length + 2) return null
      return { value: bytes.toString('utf8', end, end + length), end: end + length + 2 }
    }
    case '*': {
      if (Number(text) < 0) return { value: null, end }
      const items: RespValue[] = []
      for (let i = 0; i < Number(text); i += 1) {
        const item = parse(bytes, end)
        if (!item) return null
        items.push(item.value)
        end = item.end
      }
      return { value: items, end }
    }
    default:
      throw new Error(`unknown RESP type in ${text.slice(0, 40)}`)
  }
}
