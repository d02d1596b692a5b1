import type { AgentErrorCode } from './types.ts'

/** Why a call failed. An abort by the caller's own signal is not one of these: it rejects with the signal's reason. */
export class AgentError extends Error {
  readonly code: AgentErrorCode
  /** HTTP status; 0 when there was no answer. */
  readonly status: number
  /** Finds the request in the service's logs; null when there was no answer of the service. */
  readonly requestId: string | null
  /** Seconds after which trying again makes sense; null when nobody said. */
  readonly retryAfter: number | null

  constructor(
    code: AgentErrorCode,
    message: string,
    details: { status?: number; requestId?: string | null; retryAfter?: number | null; cause?: unknown } = {},
  ) {
    super(message, { cause: details.cause })
    this.name = 'AgentError'
    this.code = code
    this.status = details.status ?? 0
    this.requestId = details.requestId ?? null
    this.retryAfter = details.retryAfter ?? null
  }
}
