/**
 * What may be lost: live messages between processes, short-lived flags, and counts for limits. No method throws: with the cache
 * down, `publish`, `setFlag`, `leave` and `forget` do nothing, `subscribe` ends, `hasFlag` answers false, `addCounts` and `enter` null.
 */
export interface Cache {
  /** Sends messages in order to those who are subscribed now. One round trip for all of them. */
  publish(channel: string, messages: readonly string[]): Promise<void>
  /**
   * Yields messages until the signal aborts or the connection is lost (then it just ends; the caller falls back to polling and may
   * subscribe again). `onReady` is called once the subscription is confirmed.
   */
  subscribe(channel: string, options: { signal: AbortSignal; onReady?: () => void }): AsyncIterable<string>
  setFlag(name: string, ttlSeconds: number): Promise<void>
  hasFlag(name: string): Promise<boolean>
  /** Adds to counters (0: only reads) and answers what they are then, in one round trip. Null: not known, perhaps added. */
  addCounts(additions: readonly CountAddition[]): Promise<number[] | null>
  /** Puts a member into a set until it leaves or its time is over; answers how many are in the set then. */
  enter(set: string, member: string, ttlSeconds: number): Promise<number | null>
  leave(set: string, member: string): Promise<void>
  /** Removes flags before their time. */
  forget(names: readonly string[]): Promise<void>
}

export interface CountAddition {
  name: string
  by: number
  /** The counter ends so long after it was last added to with this. */
  ttlSeconds: number
}
