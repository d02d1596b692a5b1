import type { BurstClaim, CommitAnswer } from '../../../ports/store.ts'
import { claimStep } from './claim-step.ts'
import type { Database, RunTables } from './tables.ts'

/** The next claim in a commit's answer, when one step became due and this invocation can carry it out. */
export function claimNext(
  db: Database,
  { run, steps }: RunTables,
  answer: CommitAnswer,
  { inline_tools, ...claiming }: BurstClaim,
): CommitAnswer {
  const [publication, ...others] = answer.publications
  const step = publication === undefined ? undefined : steps[publication.step_number]
  if (step === undefined || others.length > 0) return answer
  if (step.kind !== 'model' && !inline_tools.includes(step.tool_name)) return answer
  const claimed = claimStep(db, { run_id: run.id, step_number: step.step_number, ...claiming })
  if (!('claim' in claimed)) return answer
  return { ...answer, claim: claimed.claim, log_seq: claimed.claim.log_seq, publications: [] }
}
