import type { EventPage, FrontStore } from '../ports/store.ts'

type Read = Parameters<FrontStore['readEvents']>[0]
interface Waiting {
  input: Read
  page: Promise<EventPage>
  settle: (page: Promise<EventPage>) => void
}

/** Reads at the same time: what a connection pool and a small database answer at once, whatever number of streams is open. */
const MAX_READING = 16

/**
 * Reads of all streams of a process. Readers of one user that are at the same place of a run share a read that has not begun; one that
 * has begun may be older than what its reader was told of. At most so many are under way; the others wait for their turn.
 */
export class EventReader {
  #store: Pick<FrontStore, 'readEvents'>
  #waiting = new Map<string, Waiting>()
  #reading = 0
  #isPlanned: boolean = false

  constructor(store: Pick<FrontStore, 'readEvents'>) {
    this.#store = store
  }

  read(input: Read): Promise<EventPage> {
    // All of the principal: a read is not to be answered with what another key was allowed.
    const key = JSON.stringify(input)
    const same = this.#waiting.get(key)
    if (same !== undefined) return same.page
    let settle: Waiting['settle'] = () => {}
    const page = new Promise<EventPage>((resolve) => {
      settle = resolve
    })
    this.#waiting.set(key, { input, page, settle })
    // After this turn: all who heard the same hint are there by then.
    if (!this.#isPlanned) setImmediate(() => this.#begin())
    this.#isPlanned = true
    return page
  }

  #begin(): void {
    this.#isPlanned = false
    for (const [key, { input, settle }] of this.#waiting) {
      if (this.#reading >= MAX_READING) return
      this.#waiting.delete(key)
      this.#reading += 1
      const reading = this.#store.readEvents(input)
      settle(reading)
      const done = () => {
        this.#reading -= 1
        this.#begin()
      }
      reading.then(done, done)
    }
  }
}
