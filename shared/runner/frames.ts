/**
 * What the runner and the executor of a pod say to each other: frames of a length (4 bytes, of what follows), a kind (1 byte) and a
 * payload. The runner sends one `request` and, by closing its half, "stop". The executor sends output and then one `end` or `fault`.
 */
export const FRAME_KINDS = ['request', 'stdout', 'stderr', 'end', 'fault'] as const
export type FrameKind = (typeof FRAME_KINDS)[number]

export interface Frame {
  kind: FrameKind
  payload: Buffer
}

/** A pipe gives at most 64 KiB at once. The request, with arguments and environment of a tool, stays far below. */
export const FRAME_BYTES = 64 * 1024
const HEAD_BYTES = 5

export function frame(kind: FrameKind, payload: Uint8Array | string): Buffer {
  const bytes = Buffer.from(payload)
  if (bytes.byteLength > FRAME_BYTES) throw new Error(`a ${kind} frame of ${bytes.byteLength} bytes`)
  const head = Buffer.alloc(HEAD_BYTES)
  head.writeUInt32BE(bytes.byteLength + 1)
  head.writeUInt8(FRAME_KINDS.indexOf(kind), 4)
  return Buffer.concat([head, bytes])
}

/** Output in as many frames as it takes. */
export function* outputFrames(stream: 'stdout' | 'stderr', bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.byteLength; at += FRAME_BYTES)
    yield frame(stream, bytes.subarray(at, at + FRAME_BYTES))
}

/** Cuts a stream of bytes into frames. Holds one frame at most; throws for what is none, the sender is not trusted. */
export class FrameReader {
  #rest: Buffer = Buffer.alloc(0)

  add(bytes: Buffer): Frame[] {
    const frames: Frame[] = []
    this.#rest = this.#rest.byteLength === 0 ? bytes : Buffer.concat([this.#rest, bytes])
    while (this.#rest.byteLength >= HEAD_BYTES) {
      const length = this.#rest.readUInt32BE()
      if (length < 1 || length > FRAME_BYTES + 1) throw new Error(`a frame of ${length} bytes`)
      const kind = FRAME_KINDS[this.#rest.readUInt8(4)]
      if (kind === undefined) throw new Error('a frame of an unknown kind')
      if (this.#rest.byteLength < 4 + length) break
      const payload = this.#rest.subarray(HEAD_BYTES, 4 + length)
      this.#rest = this.#rest.subarray(4 + length)
      frames.push({ kind, payload })
    }
    return frames
  }
}
