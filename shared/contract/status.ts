import * as z from 'zod'
import { AppError } from '../core/errors.ts'
import { RUN_STATUSES } from '../core/run.ts'
import { clampLimit, runIdOf } from './input.ts'
import { shownArtifact, shownLog, shownRun, shownTask } from './present.ts'
import { messageRow, stepRow } from './rows.ts'

const DEFAULT_LIMITS = { steps: 50, messages: 100, artifacts: 20, logs: 50 } as const
export type Part = keyof typeof DEFAULT_LIMITS

const limit = z.int().min(1).max(500).optional()
export const statusBody = z.object({
  run_id: z.string().optional(),
  task_id: z.string().optional(),
  include_steps: z.boolean().default(true),
  include_messages: z.boolean().default(true),
  include_artifacts: z.boolean().default(true),
  include_logs: z.boolean().default(true),
  steps_limit: limit.default(DEFAULT_LIMITS.steps),
  messages_limit: limit.default(DEFAULT_LIMITS.messages),
  artifacts_limit: limit.default(DEFAULT_LIMITS.artifacts),
  logs_limit: limit.default(DEFAULT_LIMITS.logs),
  steps_before: z.int().min(0).optional(),
})

export interface StatusRequest {
  run_id: string
  steps: { limit: number; before: number | null } | null
  messages: { limit: number } | null
  artifacts: { limit: number } | null
  logs: { limit: number } | null
}

/** @throws AppError run_id_required, run_not_found, invalid_request (steps_before) */
export function parseStatus(body: Record<string, unknown>): StatusRequest {
  const part = (name: Part) => {
    const include = body[`include_${name}`]
    if (include === false || include === 'false') return null
    return { limit: clampLimit(body[`${name}_limit`], DEFAULT_LIMITS[name]) }
  }
  const run_id = runIdOf(body.run_id, body.task_id)
  const steps = part('steps')
  return {
    run_id,
    steps: steps && { ...steps, before: stepNumber(body.steps_before) },
    messages: part('messages'),
    artifacts: part('artifacts'),
    logs: part('logs'),
  }
}

function stepNumber(value: unknown): number | null {
  if (value === undefined || value === null || value === '') return null
  const number = typeof value === 'string' ? Number(value) : value
  if (typeof number !== 'number' || !Number.isInteger(number) || number < 0 || number > 2 ** 31 - 1) {
    throw new AppError('invalid_request', 'steps_before must be a step number')
  }
  return number
}

export const statusAnswer = z.object({
  success: z.literal(true),
  run: shownRun,
  task: shownTask,
  progress: z.object({
    percentage: z.int().min(0).max(100),
    current_phase: z.int(),
    total_phases: z.int(),
    status: z.enum(RUN_STATUSES),
  }),
  steps: z.array(stepRow).optional(),
  has_more_steps: z.boolean().optional(),
  messages: z.array(messageRow).optional(),
  has_more_messages: z.boolean().optional(),
  artifacts: z.array(shownArtifact).optional(),
  outputs: z.array(shownArtifact).optional(),
  has_more_artifacts: z.boolean().optional(),
  logs: z.array(shownLog).optional(),
  has_more_logs: z.boolean().optional(),
  approvals: z
    .array(
      z.object({
        approval_id: z.uuid(),
        step_number: z.int(),
        step_id: z.uuid(),
        tool_name: z.string(),
        tool_input: z.record(z.string(), z.unknown()),
        asked_at: z.string(),
      }),
    )
    .describe('Tool calls that wait for the actions approve or deny'),
})
export type StatusAnswer = z.infer<typeof statusAnswer>
