/** What is bounded, so that there is an end to what can happen. Crashes, losses, lapses, sweeps, releases and pauses are not. */
export interface Bounds {
  /** Messages of one step that the broker holds at once; one more is lost. Two are enough for a doubled one beside a repeat. */
  messages: number
  /** Attempts of a step. The product has 5; what the second can do to the first, the fifth can do to the fourth. */
  attempts: number
  /** Whether the user pauses, resumes and cancels, at any moment. */
  verbs: boolean
}

export const FULL: Bounds = { messages: 2, attempts: 2, verbs: true }
