/** Test files that notice mutants of the database, relative to this folder. These first: they take the direct connection. */
export const QUICK_SUITES = [
  '../database/grants.test.ts',
  '../database/constraints.test.ts',
  '../database/access.test.ts',
  './store-cases.ts',
  '../engine/bystanders.test.ts',
  '../engine/front-guards.test.ts',
  '../engine/verb-guards.test.ts',
  '../engine/step-guards.test.ts',
  '../engine/sweep-guards.test.ts',
  '../engine/invariant-guards.test.ts',
]
/** These with the engine and HTTP around it. */
export const ENGINE_SUITES = [
  '../engine/guards.test.ts',
  '../engine/pause-in-work.test.ts',
  '../engine/verbs.test.ts',
  '../engine/protocol.test.ts',
  '../engine/burst.test.ts',
  '../engine/model-faults.test.ts',
  '../engine/without-one-part.test.ts',
  '../engine/approvals.test.ts',
  '../engine/sweeper.test.ts',
  '../engine/retention.test.ts',
  '../database/cron.test.ts',
]
/** And those of shared/core/decide.ts. */
export const DECIDE_SUITE = '../../shared/core/decide.test.ts'
