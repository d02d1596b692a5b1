import { approvalCases } from './store-approvals.suite.ts'
import { forkCases } from './store-forks.suite.ts'
import { frontCases } from './store-front.suite.ts'
import { jobCases } from './store-jobs.suite.ts'
import type { StoreCase } from './store-kit.suite.ts'
import { limitCases } from './store-limits.suite.ts'
import { parallelCases } from './store-parallel.suite.ts'
import { removalCases } from './store-removal.suite.ts'
import { stepCases } from './store-steps.suite.ts'
import { sweepCases } from './store-sweep.suite.ts'
import { verbCases } from './store-verbs.suite.ts'

/** Title and check of every case. */
export const storeCases: readonly StoreCase[] = [
  ...frontCases,
  ...verbCases,
  ...forkCases,
  ...removalCases,
  ...stepCases,
  ...jobCases,
  ...parallelCases,
  ...sweepCases,
  ...limitCases,
  ...approvalCases,
]
