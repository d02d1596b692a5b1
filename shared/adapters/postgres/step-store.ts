import type { ObjectStore, RetentionStore, StepStore } from '../../ports/store.ts'
import { type StoreOptions, stepStoreOver } from '../../ports/store-functions.ts'
import { connect, type PostgresOptions } from './connection.ts'

/** StepStore over a connection of its own, as a login role in agent_step. The timeouts are those of that role. */
export function createStepStore(
  options: Pick<PostgresOptions, 'url' | 'timeoutMs' | 'applicationName'> & StoreOptions,
): StepStore & ObjectStore & RetentionStore & { close(): Promise<void> } {
  const { call, close } = connect({ ...options, statementTimeoutMs: 15_000, lockTimeoutMs: 5_000 })
  return { ...stepStoreOver(call, options), close }
}
