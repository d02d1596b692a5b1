import { SUBMIT_PLAN } from './planner.ts'

/** More errors than this teach nothing new. */
const MAX_ERRORS = 20
const MAX_ERROR_CHARS = 300

/**
 * Answer to a plan that was not accepted: the error result of its tool call, or, when there was no call, the next user message.
 * `errors`: one sentence each, naming the place in the plan.
 */
export function planRepair(errors: readonly string[]): string {
  if (errors.length === 0) throw new Error('planRepair needs at least one error')
  const shown = errors.slice(0, MAX_ERRORS).map((error) => `- ${error.slice(0, MAX_ERROR_CHARS)}`)
  const more = errors.length - shown.length
  return `The plan was not accepted:
${shown.join('\n')}${more > 0 ? `\n- and ${more} more` : ''}

Call ${SUBMIT_PLAN} once more with the whole plan, corrected. Change nothing that was right.`
}
