import type { StepCommit } from '../ports/store.ts'

/** A commit with nothing in it but how the step ended and what follows. */
export function stepCommit(fields: Pick<StepCommit, 'status' | 'next'> & Partial<StepCommit>): StepCommit {
  return {
    output: null,
    output_text: null,
    error_code: null,
    error_message: null,
    tokens_used: 0,
    messages: [],
    artifacts: [],
    logs: [],
    files: { put: [], removed: [] },
    verified: [],
    plan: null,
    current_phase: null,
    ...fields,
  }
}

export function failedRun(code: string, message: string, fields: Partial<StepCommit> = {}): StepCommit {
  return stepCommit({
    ...fields,
    status: 'failed',
    error_code: code,
    error_message: message,
    next: { kind: 'fail', code, message },
  })
}
