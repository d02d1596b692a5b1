import type { RunsQuery } from '../contract/runs-query.ts'
import type { Caller } from '../ports/identity.ts'
import type { FrontStore } from '../ports/store.ts'
import { principalOf } from './create-run.ts'

/** The caller's own runs, newest first. */
export function listRuns(
  { store }: { store: FrontStore },
  caller: Caller,
  query: RunsQuery,
): ReturnType<FrontStore['listRuns']> {
  return store.listRuns({ principal: principalOf(caller), ...query })
}
