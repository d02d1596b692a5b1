/** Statuses and enums as stored (supabase/migrations); the lists are the single source for the contract's schemas. */
export const RUN_STATUSES = [
  'created',
  'queued',
  'planning',
  'executing',
  'waiting_user',
  'paused',
  'completed',
  'failed',
  'cancelled',
  'timeout',
] as const
export type RunStatus = (typeof RUN_STATUSES)[number]

export const FINAL_STATUSES = ['completed', 'failed', 'cancelled', 'timeout'] as const
export type FinalStatus = (typeof FINAL_STATUSES)[number]

export const STEP_STATUSES = ['pending', 'running', 'completed', 'failed', 'skipped', 'cancelled'] as const
export type StepStatus = (typeof STEP_STATUSES)[number]

export const TOOL_TYPES = [
  'shell',
  'code',
  'browser',
  'file_read',
  'file_write',
  'search',
  'message',
  'plan',
  'generate',
  'slides',
  'connector',
  'wide_research',
] as const
export type ToolType = (typeof TOOL_TYPES)[number]

export const RUN_MODES = [
  'chat',
  'research',
  'slides',
  'website',
  'document',
  'spreadsheet',
  'image',
  'video',
  'audio',
  'code',
  'data_analysis',
  'custom',
] as const
export type RunMode = (typeof RUN_MODES)[number]

export const LOG_TYPES = [
  'info',
  'success',
  'error',
  'warning',
  'state_transition',
  'tool_success',
  'tool_error',
  'phase_advance',
  'user_input_required',
] as const
export type LogType = (typeof LOG_TYPES)[number]

/** Legal transitions; the same table stands in SQL (private.run_transitions) and a test compares the two. */
export const RUN_TRANSITIONS: Readonly<Record<RunStatus, readonly RunStatus[]>> = {
  created: ['queued', 'cancelled', 'timeout'],
  queued: ['planning', 'paused', 'cancelled', 'failed', 'timeout'],
  planning: ['executing', 'waiting_user', 'paused', 'failed', 'cancelled', 'timeout'],
  executing: ['completed', 'failed', 'cancelled', 'timeout', 'waiting_user', 'paused'],
  waiting_user: ['executing', 'planning', 'paused', 'failed', 'cancelled', 'timeout'],
  paused: ['queued', 'planning', 'executing', 'waiting_user', 'failed', 'cancelled', 'timeout'],
  completed: [],
  failed: [],
  cancelled: [],
  timeout: [],
}

export function isFinal(status: RunStatus): status is FinalStatus {
  return RUN_TRANSITIONS[status].length === 0
}
