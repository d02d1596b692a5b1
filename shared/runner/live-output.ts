import { StringDecoder } from 'node:string_decoder'
import type { JobOutputAnswer, JobOutputRequest } from '../contract/job.ts'
import { LIVE_IDLE_EVERY_MS, LIVE_WATCHED_EVERY_MS } from './limits.ts'

type Chunk = JobOutputRequest['chunks'][number]
type Stream = Chunk['stream']

/** Below the 64 KiB of one call with room for the JSON around it. */
const CALL_BYTES = 56 * 1024
/** Waiting to be sent. Past it the oldest is dropped: the result holds the kept text anyway. */
const WAITING_CHARACTERS = 256 * 1024
/** Then the next tick goes on; the last flush may send all that can be waiting (1.5 MiB of JSON at most). */
const CALLS_A_FLUSH = 8
const LAST_CALLS = 64

export interface LiveOptions {
  watched: boolean
  send(chunks: Chunk[]): Promise<JobOutputAnswer>
  onCancel(): void
  watchedEveryMs?: number
  idleEveryMs?: number
}

/** Sends output while it appears, in order and best effort, and learns from the answers who watches and whether to stop. */
export class LiveOutput {
  readonly #options: LiveOptions
  readonly #decoders = { stdout: new StringDecoder('utf8'), stderr: new StringDecoder('utf8') }
  #waiting: Chunk[] = []
  #characters = 0
  #dropped = 0
  #watched: boolean
  #timer: NodeJS.Timeout | undefined
  #flushing: Promise<void> | undefined
  #ended: boolean = false

  constructor(options: LiveOptions) {
    this.#options = options
    this.#watched = options.watched
    this.#plan()
  }

  add(stream: Stream, bytes: Buffer): void {
    this.#push(stream, this.#decoders[stream].write(bytes))
  }

  /** Sends what is left, once, and stops. */
  async end(): Promise<void> {
    this.#ended = true
    clearTimeout(this.#timer)
    await this.#flushing
    for (const stream of ['stdout', 'stderr'] as const) this.#push(stream, this.#decoders[stream].end())
    await this.#flush(true)
  }

  #push(stream: Stream, text: string): void {
    if (text === '') return
    const content = text.replaceAll('\0', '\uFFFD')
    const last = this.#waiting.at(-1)
    if (last?.stream === stream && last.content.length + content.length < 8192) last.content += content
    else this.#waiting.push({ stream, content })
    this.#characters += content.length
    while (this.#characters > WAITING_CHARACTERS) {
      const oldest = this.#waiting.shift()
      if (!oldest) break
      this.#characters -= oldest.content.length
      this.#dropped += oldest.content.length
    }
  }

  #plan(): void {
    if (this.#ended) return
    const { watchedEveryMs = LIVE_WATCHED_EVERY_MS, idleEveryMs = LIVE_IDLE_EVERY_MS } = this.#options
    const started = Date.now()
    const tick = (): void => {
      const waited = Date.now() - started
      // Watched and quiet is asked as rarely as unwatched: the question is only whether the run was cancelled.
      const due = (this.#watched && this.#waiting.length > 0) || waited >= idleEveryMs
      if (!due) {
        this.#timer = setTimeout(tick, Math.min(watchedEveryMs, idleEveryMs))
        return
      }
      this.#flushing = this.#flush(false).finally(() => {
        this.#flushing = undefined
        this.#plan()
      })
    }
    this.#timer = setTimeout(tick, Math.min(watchedEveryMs, idleEveryMs))
  }

  /** Up to 8 calls (about 450 KiB); never rejects. */
  async #flush(last: boolean): Promise<void> {
    if (last && this.#waiting.length === 0) return
    for (let call = 0; call < (last ? LAST_CALLS : CALLS_A_FLUSH); call += 1) {
      const chunks = this.#take()
      let answer: JobOutputAnswer
      try {
        answer = await this.#options.send(chunks)
      } catch {
        return // Best effort: what was taken is gone, the result will have it.
      }
      this.#watched = answer.watched
      if (answer.cancelled) this.#options.onCancel()
      if (this.#waiting.length === 0) return
    }
  }

  #take(): Chunk[] {
    const chunks: Chunk[] = []
    let bytes = 0
    if (this.#dropped > 0) {
      chunks.push({ stream: 'stderr', content: `\n[… ${this.#dropped} characters not shown live …]\n` })
      this.#dropped = 0
    }
    while (this.#waiting.length > 0 && chunks.length < 1000) {
      const next = this.#waiting[0]
      if (!next) break
      // Measured as JSON: a control character takes six bytes there.
      const size = Buffer.byteLength(JSON.stringify(next)) + 1
      if (size > CALL_BYTES) {
        this.#splitFirst(next)
        continue
      }
      if (bytes + size > CALL_BYTES) break
      bytes += size
      this.#waiting.shift()
      this.#characters -= next.content.length
      chunks.push(next)
    }
    return chunks
  }

  #splitFirst(chunk: Chunk): void {
    let middle = Math.floor(chunk.content.length / 2)
    // Not between the two halves of a character outside of the basic plane.
    if (/[\uD800-\uDBFF]/.test(chunk.content.charAt(middle - 1))) middle += 1
    const { stream, content } = chunk
    this.#waiting.splice(
      0,
      1,
      { stream, content: content.slice(0, middle) },
      { stream, content: content.slice(middle) },
    )
  }
}
