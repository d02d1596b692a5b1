import { modelCostUnits } from './costs.ts'
import type { ToolType } from './run.ts'

/** A step to be scheduled by the commit that decides on it. */
export interface NewStep {
  kind: 'model' | 'tool'
  tool_type: ToolType
  tool_name: string
  tool_input: Record<string, unknown>
  tool_call_id: string | null
  phase_number: number
  /** In 1/10,000 credit; reserved when the step is scheduled. */
  cost_units: number
  /** A tool call that is carried out only with its user's yes; the commit's `next` is then `wait_approval`. */
  needs_approval?: true
}

/** What a model step does; stored as its tool_name (tool_type is `plan` for all of them). */
export type ModelStepName = 'plan' | 'replan' | 'decide'

/** `replan` repairs a plan that was not valid. */
export function modelStep(name: ModelStepName, phaseNumber: number): NewStep {
  return {
    kind: 'model',
    tool_type: 'plan',
    tool_name: name,
    tool_input: {},
    tool_call_id: null,
    phase_number: phaseNumber,
    cost_units: modelCostUnits(),
  }
}
