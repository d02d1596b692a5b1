import { AppError } from '../../../core/errors.ts'
import { modelStep } from '../../../core/steps.ts'
import type { OpenApproval } from '../../../ports/store.ts'
import { applyCommit } from './apply-commit.ts'
import { isoTime } from './iso-time.ts'
import type { Database, RunTables, Step } from './tables.ts'

/** private.open_approvals */
export function openApprovals({ approvals, steps }: RunTables): OpenApproval[] {
  return [...approvals.values()]
    .filter(({ answered_at, step_number }) => answered_at === null && steps[step_number]?.state === 'open')
    .sort((a, b) => a.step_number - b.step_number)
    .map(({ id, step_number, asked_at }) => {
      const { step_id, tool_name, tool_input } = stepOf(steps, step_number)
      return {
        approval_id: id,
        step_number,
        step_id,
        tool_name,
        tool_input,
        asked_at: isoTime(asked_at),
      }
    })
}

/** private.commit_denied: ends the denied calls that are still open, each with a result for the model and its cost given back. */
export function commitDenied(db: Database, tables: RunTables): void {
  const { approvals, steps } = tables
  for (const { step_number, approved, reason } of [...approvals.values()].sort(
    (a, b) => a.step_number - b.step_number,
  )) {
    const step = stepOf(steps, step_number)
    if (approved !== false || step.state !== 'open') continue
    const text = `The user did not allow this call${reason === null ? '.' : `: ${reason}`}`
    applyCommit(
      db,
      tables,
      step,
      {
        status: 'failed',
        output: null,
        output_text: null,
        error_code: 'APPROVAL_DENIED',
        error_message: text,
        tokens_used: 0,
        messages: [
          {
            id: null,
            role: 'tool',
            content: text,
            tool_call_id: null,
            tool_name: null,
            is_error: true,
            blocks: null,
          },
        ],
        artifacts: [],
        logs: [],
        files: { put: [], removed: [] },
        verified: [],
        plan: null,
        current_phase: null,
        next: { kind: 'group', model_step: modelStep('decide', 0) },
      },
      { used: false },
    )
  }
}

/** private.refuse_unasked: a fork does its step anew without asking. */
export function refuseUnasked({ approvals, steps }: RunTables, from: number): void {
  for (const { step_number } of approvals.values()) {
    if (step_number < from) continue
    if (steps.slice(from, step_number + 1).some(({ kind }) => kind === 'model')) continue
    throw new AppError(
      'invalid_state',
      `Step ${from} belongs to calls that need an approval: fork at the step that asked the model before it`,
    )
  }
}

export function stepOf(steps: readonly Step[], number: number): Step {
  const step = steps[number]
  if (step === undefined) throw new Error(`there is no step ${number}`)
  return step
}
