/** What a caller knows of one of its requests: acknowledged, refused, or nothing. */
export type Outcome = 'ok' | 'fail' | 'unknown'

export interface CreateOp {
  /** The Idempotency-Key, and a tag of the run. */
  key: string
  outcome: Outcome
  runId?: string
  attempts: number
  /** It began and ended while nothing was broken. */
  calm: boolean
  cancel?: Outcome
}

/** Kept outside of what is tested: what its callers were told. */
export class History {
  readonly creates: CreateOp[] = []

  share(ops: readonly CreateOp[]): number {
    return ops.length === 0 ? 1 : ops.filter(({ outcome }) => outcome === 'ok').length / ops.length
  }
}
