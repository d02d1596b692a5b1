/** A plan as stored in agent_runs.plan and shown by front ends (spec of the data model). Phases are numbered from 1. */
export interface PlanPhase {
  phase_number: number
  name: string
  description: string
  required_capabilities: string[]
  estimated_credits: number
  dependencies: number[]
  expected_outputs: string[]
}

export interface Plan {
  goal: string
  phases: PlanPhase[]
  total_estimated_credits: number
  total_estimated_duration_minutes: number
  required_capabilities: string[]
  risks: string[]
}
