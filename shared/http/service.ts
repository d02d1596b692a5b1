import type { ConfigError } from '../core/config-error.ts'
import type { Log } from '../ports/log.ts'
import type { App } from './env.ts'

/** What createExecute(), createStatus(), createLogs() and createStep() make. */
export interface Service {
  app: App
  log?: Log
  /** Streams end themselves and long waits are given up: the process is about to end. */
  drain?(): void
  /** Resolves when it turns out that this service must not run; until it is known that it may, it serves nothing from the database. */
  refused?: Promise<ConfigError>
  /** Lets go of what the adapters hold. */
  close(): Promise<void>
}
