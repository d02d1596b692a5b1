import type { ObjectStore, RetentionStore, StepStore } from '../../ports/store.ts'
import { type StoreOptions, stepStoreOver } from '../../ports/store-functions.ts'
import { createRpc, type SupabaseOptions } from './rpc.ts'

/** StepStore over PostgREST rpc, as the role agent_step. */
export function createStepStore(
  options: SupabaseOptions & StoreOptions,
): StepStore & ObjectStore & RetentionStore {
  return stepStoreOver(createRpc(options), options)
}
