/** What is kept of one output stream: its beginning and its end, each half of `maxBytes`, however much comes. */
export class KeptOutput {
  readonly #half: number
  #head: Buffer[] = []
  #headBytes = 0
  #tail: Buffer[] = []
  #tailBytes = 0
  #dropped = 0

  constructor(maxBytes: number) {
    this.#half = Math.floor(maxBytes / 2)
  }

  get truncated(): boolean {
    return this.#dropped > 0
  }

  add(bytes: Buffer): void {
    const room = this.#half - this.#headBytes
    if (room > 0) {
      // Copied: a slice would keep the pipe's whole 64 KiB buffer alive for a few bytes.
      const part = Buffer.from(bytes.subarray(0, room))
      this.#head.push(part)
      this.#headBytes += part.byteLength
    }
    const rest = bytes.subarray(Math.max(room, 0))
    if (rest.byteLength === 0) return
    this.#tail.push(Buffer.from(rest))
    this.#tailBytes += rest.byteLength
    // Cut only when twice as much is there, so that many small writes do not copy the tail each time.
    if (this.#tailBytes > 2 * this.#half || this.#tail.length > 4096) this.#cutTail()
  }

  /** The text, with U+FFFD for bytes that are not UTF-8 and for NUL, which Postgres cannot store. */
  text(): string {
    this.#cutTail()
    const head = Buffer.concat(this.#head)
    const tail = Buffer.concat(this.#tail)
    const decode = (bytes: Buffer): string => bytes.toString('utf8').replaceAll('\0', '\uFFFD')
    if (this.#dropped === 0) return decode(Buffer.concat([head, tail]))
    const from = firstCharacter(tail)
    const to = lastCharacter(head)
    const gone = this.#dropped + from + head.byteLength - to
    return `${decode(head.subarray(0, to))}\n[… ${gone} bytes left out …]\n${decode(tail.subarray(from))}`
  }

  #cutTail(): void {
    const all = Buffer.concat(this.#tail)
    const cut = Math.max(all.byteLength - this.#half, 0)
    this.#tail = [Buffer.from(all.subarray(cut))]
    this.#tailBytes = all.byteLength - cut
    this.#dropped += cut
  }
}

const isContinuation = (byte: number | undefined): boolean => byte !== undefined && (byte & 0xc0) === 0x80

/** Index of the first byte that can start a character; a character is at most 4 bytes long. */
function firstCharacter(bytes: Buffer): number {
  let index = 0
  while (index < 3 && isContinuation(bytes[index])) index += 1
  return index
}

/** Length without a character that is cut at the end. */
function lastCharacter(bytes: Buffer): number {
  let start = bytes.byteLength - 1
  while (start > bytes.byteLength - 4 && isContinuation(bytes[start])) start -= 1
  const first = bytes[start] ?? 0
  const length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc0 ? 2 : 1
  return start + length > bytes.byteLength ? Math.max(start, 0) : bytes.byteLength
}
