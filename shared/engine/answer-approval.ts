import type { Caller } from '../ports/identity.ts'
import type { RunAnswer } from '../ports/store.ts'
import { type FrontPorts, principalOf, spread } from './create-run.ts'

/** A user's yes or no to a tool call; after the last one that is asked about the run goes on. */
export async function answerApproval(
  ports: FrontPorts,
  caller: Caller,
  command: { run_id: string; approval_id: string; action: 'approve' | 'deny'; message: string | null },
): Promise<RunAnswer> {
  const { run_id, approval_id, action, message } = command
  const answer = await ports.store.answerApproval({
    principal: principalOf(caller),
    run_id,
    approval_id,
    approved: action === 'approve',
    message,
  })
  await spread(ports, answer)
  return answer
}
