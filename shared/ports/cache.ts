/**
 * What may be lost: live messages between processes and short-lived flags. No method throws: with the cache down, `publish`
 * and `setFlag` do nothing, `subscribe` ends, `hasFlag` answers false.
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
}
