import type { StatusRequest } from '../contract/status.ts'
import type { Artifacts } from '../ports/blobs.ts'
import type { Caller } from '../ports/identity.ts'
import type { Log } from '../ports/log.ts'
import type { FrontStore, RunSnapshot } from '../ports/store.ts'
import { principalOf } from './create-run.ts'
import { signStale } from './sign-stale.ts'

/** A run with the parts that were asked for; links to its files are good for at least a minute. */
export async function readRun(
  ports: { store: FrontStore; artifacts: () => Promise<Artifacts>; log: Log },
  caller: Caller,
  request: StatusRequest,
): Promise<RunSnapshot> {
  const snapshot = await ports.store.readRun({ principal: principalOf(caller), ...request })
  return { ...snapshot, artifacts: await signStale(ports, snapshot.artifacts) }
}
