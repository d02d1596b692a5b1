import type { NamedFrame } from '../contract/events.ts'
import type { LiveMessage } from '../contract/live.ts'

/** Terminal text remembered of one step's stream, to tell what of the stored text is new; a stored text is capped near this. */
const MAX_SEEN_CHARACTERS = 256 * 1024
/** Ids of what is done, kept to drop text that comes after it. A run's steps are one after another, so the last ones are enough. */
const MAX_DONE = 200
const HEAD_CHARACTERS = 1024

/**
 * What one connection has shown of text that also comes stored: late pieces are dropped, and of a command's stored output only what
 * was missed is shown.
 */
export class LiveText {
  #done = new Set<string>()
  #seen = new Map<string, string>()

  /** The frame for a live message; null when what it belongs to is already there in full. */
  take(message: LiveMessage): NamedFrame | null {
    if (message.t === 'message_delta') {
      const { message_id, content } = message
      return this.#done.has(message_id) ? null : { event: 'message_delta', data: { message_id, content } }
    }
    if (message.t !== 'terminal' || this.#done.has(message.step_id)) return null
    const { step_id, stream, content } = message
    const key = `${step_id} ${stream}`
    const seen = this.#seen.get(key) ?? ''
    if (seen.length < MAX_SEEN_CHARACTERS) this.#seen.set(key, seen + content)
    return { event: 'terminal', data: { step_id, content, stream } }
  }

  /** The frame without what was shown live; null when nothing is left. Frames other than stored terminal output stay as they are. */
  remainder(frame: NamedFrame): NamedFrame | null {
    if (frame.event !== 'terminal') return frame
    const { step_id, stream, content } = frame.data
    const seen = this.#seen.get(`${step_id} ${stream}`) ?? ''
    if (seen === '') return frame
    if (content.startsWith(seen)) {
      const rest = content.slice(seen.length)
      return rest === '' ? null : { event: 'terminal', data: { ...frame.data, content: rest } }
    }
    // Shown from the beginning, but stored with a cut in the middle: nothing new. Else the beginning was missed: show it whole.
    return seen.startsWith(content.slice(0, HEAD_CHARACTERS)) ? null : frame
  }

  note(frame: NamedFrame): void {
    if (frame.event === 'message') this.#finish(frame.data.message_id)
    if (frame.event !== 'tool_result') return
    this.#finish(frame.data.step_id)
    this.#seen.delete(`${frame.data.step_id} stdout`)
    this.#seen.delete(`${frame.data.step_id} stderr`)
  }

  #finish(id: string): void {
    this.#done.add(id)
    const [oldest] = this.#done
    if (this.#done.size > MAX_DONE && oldest !== undefined) this.#done.delete(oldest)
  }
}
