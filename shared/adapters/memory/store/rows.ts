import type { ArtifactRow, LogRow, MessageRow, RunRow, StepRow } from '../../../contract/rows.ts'
import { isoTime, isoTimeOrNull } from './iso-time.ts'
import type { Artifact, LogLine, Message, Run, RunTables, Step } from './tables.ts'

const UNITS_PER_CREDIT = 10_000

export function runRow(run: Run): RunRow {
  return {
    id: run.id,
    user_id: run.user_id,
    tenant_id: run.tenant_id,
    project_id: run.project_id,
    prompt: run.prompt,
    mode: run.mode,
    config: { ...run.config },
    status: run.status,
    plan: run.plan,
    plan_version: run.plan_version,
    current_phase: run.current_phase,
    current_step_id: run.current_step_id,
    total_steps: run.total_steps,
    completed_steps: run.completed_steps,
    failed_steps: run.failed_steps,
    total_tokens_used: run.total_tokens_used,
    total_credits_used: run.credits_used_units / UNITS_PER_CREDIT,
    estimated_credits: run.estimated_credits,
    created_at: isoTime(run.created_at),
    started_at: isoTimeOrNull(run.started_at),
    completed_at: isoTimeOrNull(run.completed_at),
    timeout_at: isoTimeOrNull(run.timeout_at),
    error_message: run.error_message,
    error_code: run.error_code,
    retry_count: 0,
    max_retries: 0,
    metadata: run.metadata,
    tags: run.tags,
    deleted_at: null,
  }
}

export function stepRow({ run }: RunTables, step: Step): StepRow {
  return {
    id: step.step_id,
    run_id: run.id,
    parent_step_id: null,
    step_number: step.step_number,
    phase_number: step.phase_number,
    tool_type: step.tool_type,
    tool_name: step.tool_name,
    tool_input: step.tool_input,
    status: step.status,
    tool_output: step.tool_output,
    output_text: step.output_text,
    tokens_used: step.tokens_used,
    credits_used: step.credits_used_units / UNITS_PER_CREDIT,
    created_at: isoTime(step.created_at),
    started_at: isoTimeOrNull(step.started_at),
    completed_at: isoTimeOrNull(step.completed_at),
    duration_ms: step.duration_ms,
    error_message: step.error_message,
    error_code: step.error_code,
    retry_count: step.retry_count,
    idempotency_key: step.idempotency_key,
    metadata: { ...step.metadata },
  }
}

export function messageRow({ run }: RunTables, message: Message): MessageRow {
  return {
    id: message.id,
    run_id: run.id,
    step_id: message.step_id,
    role: message.role,
    content: message.content,
    tool_call_id: message.tool_call_id,
    tool_name: message.tool_name,
    attachments: message.attachments,
    metadata: { ...message.metadata },
    created_at: isoTime(message.created_at),
  }
}

export function artifactRow({ run }: RunTables, artifact: Artifact): ArtifactRow {
  return {
    ...artifact,
    run_id: run.id,
    user_id: run.user_id,
    public_url: null,
    signed_url_expires_at: isoTime(artifact.signed_url_expires_at),
    metadata: {},
    created_at: isoTime(artifact.created_at),
    expires_at: null,
    deleted_at: null,
  }
}

export function logRow({ run }: RunTables, line: LogLine): LogRow {
  return { ...line, run_id: run.id, created_at: isoTime(line.created_at) }
}
