/** One delivery of "step n of run r is due": written by SQL in the transaction that made it due, published after it. */
export interface Publication {
  run_id: string
  step_number: number
  epoch: number
  /** Raised by every deliberate republish, so that deduplication only absorbs repeats of one publish. */
  publication: number
  /** 0: at once. */
  delay_seconds: number
}

export interface Scheduler {
  /** Resolves when every publication was accepted (a deduplicated one counts); rejects when it is not known. */
  publish(publications: readonly Publication[]): Promise<void>
}

export interface SignatureVerifier {
  /**
   * True when `signature` was made for exactly this URL and raw body with one of the configured keys. Never throws for a bad one.
   * `url` is the address that was published to, built from configuration, never from the request.
   */
  verify(message: { signature: string; rawBody: string; url: string }): Promise<boolean>
}
