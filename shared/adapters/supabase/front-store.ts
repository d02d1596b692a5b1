import type { FrontStore, VerbStore } from '../../ports/store.ts'
import { frontStoreOver, type StoreOptions } from '../../ports/store-functions.ts'
import { createRpc, type SupabaseOptions } from './rpc.ts'

/** FrontStore over PostgREST rpc, as the role agent_api. */
export function createFrontStore(options: SupabaseOptions & StoreOptions): FrontStore & VerbStore {
  return frontStoreOver(createRpc(options), options)
}
