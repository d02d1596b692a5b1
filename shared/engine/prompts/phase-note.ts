import type { Plan } from '../../core/plan.ts'
import { type ListedFile, listFiles } from './files.ts'

/**
 * Where the run stands: the result of advance_phase, and a text block of the first user message. It becomes part of the stored
 * conversation, which only ever grows (see supervisorPrompt).
 */
export function phaseNote({
  plan,
  currentPhase,
  files,
}: {
  plan: Plan
  currentPhase: number
  files: readonly ListedFile[]
}): string {
  const phase = plan.phases.find(({ phase_number }) => phase_number === currentPhase)
  if (phase === undefined) throw new Error(`the plan has no phase ${currentPhase}`)
  const workspace =
    files.length === 0 ? 'The workspace is empty.' : `Files in the workspace:\n${listFiles(files)}`
  return `\n\nPhase ${currentPhase} of ${plan.phases.length} begins: ${phase.name}.\n${workspace}`
}
