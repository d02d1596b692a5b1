import type { ErrorBody } from '../contract/error.ts'
import type { Log } from '../ports/log.ts'

export interface AppOptions {
  /** Function name; `agent-api` for all four behind one entry. */
  service: string
  version: string
  log: Log
  /** `*` reflects any origin; an empty list answers no browser (the step service). */
  allowedOrigins: '*' | readonly string[]
  /** Origin of the shared host: asked under its name, /health speaks for all four services. */
  publicBaseUrl: string
  /** Rejects when the service cannot work now. */
  ready: () => Promise<void>
  /** Fields of every error body of this service. */
  errorFields?: Partial<ErrorBody>
}
