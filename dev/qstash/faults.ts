import { seededRandom } from './random.ts'

export interface FaultOptions {
  /** Probability that a message is delivered a second time, whatever the answer to the first. */
  duplicate?: number
  /** Every delivery waits a random time up to this, so that they overtake each other. Not scaled. */
  shuffleMs?: number
  /** Accept and lose the next n messages. */
  drop?: number
  /** Every delivery waits this much longer. Not scaled. */
  delayMs?: number
  seed?: number
}

export interface Faults {
  set(options: FaultOptions): void
  duplicates(): boolean
  extraDelayMs(): number
  loses(): boolean
}

/** What goes wrong on purpose in a test; with no options nothing does. */
export function createFaults(initial: FaultOptions = {}): Faults {
  let options = initial
  let dropsLeft = initial.drop ?? 0
  let random = seededRandom(initial.seed ?? 1)
  return {
    set(next) {
      options = next
      dropsLeft = next.drop ?? 0
      random = seededRandom(next.seed ?? 1)
    },
    duplicates: () => options.duplicate !== undefined && random() < options.duplicate,
    extraDelayMs: () => (options.delayMs ?? 0) + (options.shuffleMs ? random() * options.shuffleMs : 0),
    loses() {
      if (dropsLeft <= 0) return false
      dropsLeft -= 1
      return true
    },
  }
}
