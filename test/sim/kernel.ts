import { AsyncLocalStorage } from 'node:async_hooks'

/** A simulated operating-system process: one invocation of a function. Killed, nothing of it goes on. */
export interface Process {
  name: string
  alive: boolean
  /** Called once when it is killed. */
  onDeath: (() => void) | undefined
  /** How far its clock is off. */
  skew_ms: number
}

export interface Event {
  at_ms: number
  order: number
  run: () => void
  owner: Process | undefined
  cancelled: boolean
}

/** 1 January 2026: where every world begins. */
const EPOCH_MS = 1_767_225_600_000
const realSetImmediate = setImmediate
// one for all worlds: each storage makes every context larger
const processes = new AsyncLocalStorage<Process>()

/** Virtual time and the order of everything: events one after the other, each with all that follows from it at once. */
export class Kernel {
  now_ms = EPOCH_MS
  events = 0
  #heap: Event[] = []
  #order = 0
  #hash = 0x811c_9dc5
  #hash2 = 0x1234_5678

  /** A process may be killed before the event comes: then it does not. */
  after(delay_ms: number, run: () => void, owner?: Process): Event {
    // whole milliseconds, as timers have
    const event = {
      at_ms: Math.ceil(this.now_ms + delay_ms),
      order: this.#order++,
      run,
      owner,
      cancelled: false,
    }
    this.#push(event)
    return event
  }

  spawn(name: string): Process {
    return { name, alive: true, onDeath: undefined, skew_ms: this.skew() }
  }
  /** Of the next process. */
  skew: () => number = () => 0

  kill(process: Process): void {
    if (!process.alive) return
    process.alive = false
    this.note('killed', process.name)
    process.onDeath?.()
  }

  /** Runs the work as the process: timers that it sets are its own. */
  as<T>(process: Process, work: () => T): T {
    return processes.run(process, work)
  }

  /** Into the history that two runs of one seed are compared by. */
  note(...words: (string | number)[]): void {
    const line = `${this.now_ms - EPOCH_MS} ${words.join(' ')}`
    if (this.trace !== undefined) this.trace(line)
    let [a, b] = [this.#hash, this.#hash2]
    for (let n = 0; n < line.length; n++) {
      const code = line.charCodeAt(n)
      a = Math.imul(a ^ code, 0x0100_0193)
      b = (Math.imul(b, 31) + code) | 0
    }
    this.#hash = a
    this.#hash2 = b
  }
  trace: ((line: string) => void) | undefined

  get hash(): string {
    return [this.#hash, this.#hash2].map((word) => (word >>> 0).toString(16).padStart(8, '0')).join('')
  }

  /** Goes on while `goOn` says so and something is to come. */
  async run(goOn: () => boolean): Promise<void> {
    const uninstall = this.#installGlobals()
    try {
      while (goOn()) {
        const event = this.#pop()
        if (event === undefined) return
        if (event.cancelled || event.owner?.alive === false) continue
        this.now_ms = Math.max(this.now_ms, event.at_ms)
        this.events += 1
        if (event.owner === undefined) event.run()
        else this.as(event.owner, event.run)
        // all that follows from the event without waiting happens now
        await new Promise((resolve) => realSetImmediate(resolve))
      }
    } finally {
      uninstall()
    }
  }

  /** The engine's timers and clock are virtual while a world runs. */
  #installGlobals(): () => void {
    const saved = {
      setTimeout: globalThis.setTimeout,
      clearTimeout: globalThis.clearTimeout,
      setInterval: globalThis.setInterval,
      clearInterval: globalThis.clearInterval,
    }
    const { now } = Date
    const perf = performance.now
    const clear = (real: (timer: NodeJS.Timeout) => void) => (timer: unknown) => {
      if (typeof timer !== 'object' || timer === null) return
      if ('cancelled' in timer) timer.cancelled = true
      else real(timer as NodeJS.Timeout)
    }
    // what belongs to no process of the world (a socket of another test in this thread) keeps its real timers
    const timers = {
      setTimeout: (run: () => void, ms = 0) => {
        const process = processes.getStore()
        return process === undefined ? saved.setTimeout(run, ms) : this.after(ms, run, process)
      },
      clearTimeout: clear(saved.clearTimeout),
      setInterval: (run: () => void, ms: number) => {
        const process = processes.getStore()
        return process === undefined ? saved.setInterval(run, ms) : this.#every(ms, run, process)
      },
      clearInterval: clear(saved.clearInterval),
    }
    Object.assign(globalThis, timers)
    Date.now = () => {
      const process = processes.getStore()
      return process === undefined ? now() : this.now_ms + process.skew_ms
    }
    performance.now = () =>
      processes.getStore() === undefined ? perf.call(performance) : this.now_ms - EPOCH_MS
    return () => {
      Object.assign(globalThis, saved)
      Date.now = now
      performance.now = perf
    }
  }

  /** One object for all its turns, so that clearing it ends them. */
  #every(ms: number, run: () => void, process: Process): Event {
    const event: Event = this.after(
      ms,
      () => {
        run()
        if (event.cancelled) return
        event.at_ms = this.now_ms + ms
        event.order = this.#order++
        this.#push(event)
      },
      process,
    )
    return event
  }

  #before(a: Event | undefined, b: Event | undefined): boolean {
    if (a === undefined || b === undefined) return a !== undefined
    return a.at_ms < b.at_ms || (a.at_ms === b.at_ms && a.order < b.order)
  }

  #push(event: Event): void {
    const heap = this.#heap
    let place = heap.push(event) - 1
    while (place > 0) {
      const parent = (place - 1) >> 1
      const above = heap[parent]
      if (above === undefined || !this.#before(event, above)) break
      heap[place] = above
      place = parent
    }
    heap[place] = event
  }

  #pop(): Event | undefined {
    const heap = this.#heap
    const [first] = heap
    const last = heap.pop()
    if (first === undefined || last === undefined || heap.length === 0) return first
    let place = 0
    for (;;) {
      const left = place * 2 + 1
      const child = this.#before(heap[left + 1], heap[left]) ? left + 1 : left
      const below = heap[child]
      if (below === undefined || !this.#before(below, last)) break
      heap[place] = below
      place = child
    }
    heap[place] = last
    return first
  }
}
