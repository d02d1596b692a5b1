import * as z from 'zod'
import { LOG_TYPES, RUN_MODES, RUN_STATUSES, STEP_STATUSES, TOOL_TYPES } from '../core/run.ts'

/** Rows as callers read them: from the functions and, with the same names, straight from the tables. Times are ISO 8601. */
const time = z.string()
const json = z.record(z.string(), z.unknown())

export const planSchema = z.object({
  goal: z.string().min(1).max(2000),
  phases: z
    .array(
      z.object({
        phase_number: z.int().min(1),
        name: z.string().min(1).max(200),
        description: z.string().max(4000),
        required_capabilities: z.array(z.string().max(100)).max(20),
        estimated_credits: z.number().min(0),
        dependencies: z.array(z.int().min(1)).max(20),
        expected_outputs: z.array(z.string().max(500)).max(20),
      }),
    )
    .min(1)
    .max(20),
  total_estimated_credits: z.number().min(0),
  total_estimated_duration_minutes: z.number().min(0),
  required_capabilities: z.array(z.string().max(100)).max(50),
  risks: z.array(z.string().max(1000)).max(20),
})

export const runRow = z.object({
  id: z.uuid(),
  user_id: z.uuid(),
  tenant_id: z.uuid().nullable(),
  project_id: z.uuid().nullable(),
  prompt: z.string(),
  mode: z.enum(RUN_MODES),
  config: json,
  status: z.enum(RUN_STATUSES),
  plan: planSchema.nullable(),
  plan_version: z.int(),
  current_phase: z.int(),
  current_step_id: z.uuid().nullable(),
  total_steps: z.int(),
  completed_steps: z.int(),
  failed_steps: z.int(),
  total_tokens_used: z.number(),
  total_credits_used: z.number(),
  estimated_credits: z.number().nullable(),
  created_at: time,
  started_at: time.nullable(),
  completed_at: time.nullable(),
  timeout_at: time.nullable(),
  error_message: z.string().nullable(),
  error_code: z.string().nullable(),
  retry_count: z.int(),
  max_retries: z.int(),
  metadata: json,
  tags: z.array(z.string()),
  deleted_at: time.nullable(),
})
export type RunRow = z.infer<typeof runRow>

export const stepRow = z.object({
  id: z.uuid(),
  run_id: z.uuid(),
  user_id: z.uuid().optional(),
  parent_step_id: z.uuid().nullable(),
  step_number: z.int(),
  phase_number: z.int(),
  tool_type: z.enum(TOOL_TYPES),
  tool_name: z.string(),
  tool_input: json,
  status: z.enum(STEP_STATUSES),
  tool_output: json.nullable(),
  output_text: z.string().nullable(),
  tokens_used: z.int(),
  credits_used: z.number(),
  created_at: time,
  started_at: time.nullable(),
  completed_at: time.nullable(),
  duration_ms: z.int().nullable(),
  error_message: z.string().nullable(),
  error_code: z.string().nullable(),
  retry_count: z.int(),
  idempotency_key: z.string(),
  metadata: json,
})
export type StepRow = z.infer<typeof stepRow>

export const messageRow = z.object({
  id: z.uuid(),
  run_id: z.uuid(),
  user_id: z.uuid().optional(),
  step_id: z.uuid().nullable(),
  role: z.enum(['user', 'assistant', 'system', 'tool']),
  content: z.string(),
  tool_call_id: z.string().nullable(),
  tool_name: z.string().nullable(),
  attachments: z.array(json),
  step_number: z.int().nullable().optional(),
  size_bytes: z.int().optional(),
  metadata: json,
  created_at: time,
})
export type MessageRow = z.infer<typeof messageRow>

export const artifactRow = z.object({
  id: z.uuid(),
  run_id: z.uuid(),
  step_id: z.uuid().nullable(),
  user_id: z.uuid(),
  filename: z.string(),
  file_path: z.string(),
  file_type: z.string(),
  file_size: z.number(),
  content_hash: z.string(),
  storage_bucket: z.string(),
  storage_key: z.string(),
  public_url: z.string().nullable(),
  signed_url: z.string().nullable(),
  signed_url_expires_at: time.nullable(),
  metadata: json,
  created_at: time,
  expires_at: time.nullable(),
  deleted_at: time.nullable(),
})
export type ArtifactRow = z.infer<typeof artifactRow>

export const logRow = z.object({
  id: z.uuid(),
  run_id: z.uuid(),
  user_id: z.uuid().optional(),
  /** Dense per run, from 1. */
  seq: z.int(),
  log_type: z.enum(LOG_TYPES),
  message: z.string(),
  metadata: json,
  created_at: time,
})
export type LogRow = z.infer<typeof logRow>
