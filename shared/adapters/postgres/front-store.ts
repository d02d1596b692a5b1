import type { FrontStore, VerbStore } from '../../ports/store.ts'
import { frontStoreOver, type StoreOptions } from '../../ports/store-functions.ts'
import { connect, type PostgresOptions } from './connection.ts'

/** FrontStore over a connection of its own, as a login role in agent_api. The timeouts are those of that role. */
export function createFrontStore(
  options: Pick<PostgresOptions, 'url' | 'timeoutMs' | 'applicationName'> & StoreOptions,
): FrontStore & VerbStore & { close(): Promise<void> } {
  const { call, close } = connect({ ...options, statementTimeoutMs: 8_000, lockTimeoutMs: 4_000 })
  return { ...frontStoreOver(call, options), close }
}
