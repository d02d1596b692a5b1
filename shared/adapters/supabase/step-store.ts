import type { ObjectStore, StepStore } from '../../ports/store.ts'
import { stepStoreOver } from '../../ports/store-functions.ts'
import { createRpc, type SupabaseOptions } from './rpc.ts'

/** StepStore over PostgREST rpc, as the role agent_step. */
export function createStepStore(options: SupabaseOptions): StepStore & ObjectStore {
  return stepStoreOver(createRpc(options))
}
