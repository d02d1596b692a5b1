/** `create`: a run is made, which costs most; `stream`: a stream is opened, which holds a connection. */
export type RateKind = 'create' | 'write' | 'read' | 'stream'

export interface RateLimits {
  /** Requests of one user in a minute. */
  perMinute: Readonly<Record<RateKind, number>>
  /** A tenant may do so many times what one of its users may. */
  tenantFactor: number
}
