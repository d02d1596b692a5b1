import * as z from 'zod'
import { planSchema } from '../contract/rows.ts'
import type { Plan } from '../core/plan.ts'
import { invalidToolInput } from '../core/tool-input.ts'
import { MAX_PLAN_PHASES } from './prompts/planner.ts'

const submitted = z.object({
  goal: z.string().trim().min(1).max(2000),
  phases: z
    .array(
      z.object({
        name: z.string().trim().min(1).max(200),
        description: z.string().max(4000),
        required_capabilities: z.array(z.string().max(100)).max(20).default([]),
        estimated_credits: z.number().min(0).max(100_000).default(0),
        dependencies: z.array(z.int().min(1)).max(20).default([]),
        expected_outputs: z.array(z.string().max(500)).max(20).default([]),
      }),
    )
    .min(1)
    .max(MAX_PLAN_PHASES),
  total_estimated_duration_minutes: z.number().min(0).max(100_000).default(0),
  risks: z.array(z.string().max(1000)).max(20).default([]),
})

/** Reads a submitted plan: phases are numbered by their order, totals computed. Errors are sentences for the model. */
export function readPlan(input: unknown): { plan: Plan } | { errors: string[] } {
  const invalid = invalidToolInput(input)
  if (invalid !== undefined) return { errors: [invalid.reason] }
  const parsed = submitted.safeParse(input)
  if (!parsed.success) {
    return {
      errors: parsed.error.issues.map((issue) => `${issue.path.join('.') || 'the plan'}: ${issue.message}`),
    }
  }
  const { goal, phases, total_estimated_duration_minutes, risks } = parsed.data
  const errors = phases.flatMap((phase, index) =>
    phase.dependencies
      .filter((dependency) => dependency > index)
      .map(
        (dependency) =>
          `phases.${index}.dependencies: phase ${index + 1} cannot depend on phase ${dependency}, only on earlier ones`,
      ),
  )
  if (errors.length > 0) return { errors }
  const plan = planSchema.parse({
    goal,
    phases: phases.map((phase, index) => ({ phase_number: index + 1, ...phase })),
    total_estimated_credits: phases.reduce((sum, phase) => sum + phase.estimated_credits, 0),
    total_estimated_duration_minutes,
    required_capabilities: [...new Set(phases.flatMap((phase) => phase.required_capabilities))].slice(0, 50),
    risks,
  })
  return { plan }
}
