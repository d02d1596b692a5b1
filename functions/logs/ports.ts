import type { Artifacts } from '../../shared/ports/blobs.ts'
import type { Cache } from '../../shared/ports/cache.ts'
import type { Identity } from '../../shared/ports/identity.ts'
import type { Log } from '../../shared/ports/log.ts'
import type { FrontStore } from '../../shared/ports/store.ts'
import type { Connections } from './connections.ts'

export interface LogsPorts {
  log: Log
  identity: Identity
  store: FrontStore
  cache: Cache
  artifacts: () => Promise<Artifacts>
  connections: Connections
}
