import type { Plan } from '../../../core/plan.ts'
import type { LogType, RunMode, RunStatus, StepStatus, ToolType } from '../../../core/run.ts'
import type { CommitAnswer, NewArtifact, RunLimits, StoredObject } from '../../../ports/store.ts'

/** The tables of supabase/migrations as records. Times are microseconds since 1970, as Postgres counts them; Infinity is its infinity. */
export interface Run {
  id: string
  user_id: string
  tenant_id: string
  project_id: string | null
  prompt: string
  mode: RunMode
  config: { limits: RunLimits; memory_context: string | null }
  status: RunStatus
  plan: Plan | null
  plan_version: number
  current_phase: number
  current_step_id: string | null
  total_steps: number
  completed_steps: number
  failed_steps: number
  total_tokens_used: number
  /** 1/10,000 credit. */
  credits_used_units: number
  estimated_credits: number | null
  created_at: number
  started_at: number | null
  completed_at: number | null
  timeout_at: number | null
  error_message: string | null
  error_code: string | null
  metadata: Record<string, unknown>
  tags: string[]
  connector_ids: string[]
  epoch: number
  next_step: number
  log_seq: number
  last_log_at: number
  message_count: number
  file_count: number
  byte_count: number
  group_open: number
  max_steps: number
  timeout_seconds: number
  protocol: number
  paused_from: RunStatus | null
  held_at: number | null
  deadline_at: number | null
}

export interface Step {
  step_number: number
  step_id: string
  kind: 'model' | 'tool'
  tool_call_id: string | null
  state: 'open' | 'settling' | 'done'
  attempt: number
  fence: number
  token: string | null
  lease_until: number | null
  last_error: string | null
  phase_number: number
  tool_type: ToolType
  tool_name: string
  tool_input: Record<string, unknown>
  cost_units: number
  status: StepStatus
  tool_output: Record<string, unknown> | null
  output_text: string | null
  tokens_used: number
  credits_used_units: number
  created_at: number
  started_at: number | null
  completed_at: number | null
  duration_ms: number | null
  error_message: string | null
  error_code: string | null
  retry_count: number
  idempotency_key: string
  metadata: Record<string, unknown>
}

export interface Queued {
  step_number: number
  epoch: number
  publication: number
  due_at: number
  publish_at: number | null
  /** Which of its tenant's places for parallel calls it holds. */
  slot: number | null
  /** What it waits for in line; `called` once it was given a place. */
  waits: 'run' | 'tenant' | 'called' | null
  waiting_since: number
}

export interface Wait {
  step_number: number
  kind: 'job' | 'user'
  job_name: string | null
  token_sha256: string | null
  confirmed_at: number | null
  deadline_at: number
  body_sha256: string | null
  answer: CommitAnswer | null
  finished_at: number | null
}

export interface Approval {
  id: string
  step_number: number
  asked_at: number
  answered_at: number | null
  approved: boolean | null
  reason: string | null
}

export interface Message {
  id: string
  step_id: string | null
  step_number: number
  role: 'user' | 'assistant' | 'tool'
  content: string
  tool_call_id: string | null
  tool_name: string | null
  attachments: Record<string, unknown>[]
  metadata: { is_error?: true; blocks?: unknown[] }
  created_at: number
  /** As it counts against the size of a conversation. */
  bytes: number
}

export interface Artifact extends Omit<NewArtifact, 'signed_url_expires_at'> {
  id: string
  step_id: string
  signed_url_expires_at: number
  created_at: number
}

export interface LogLine {
  id: string
  seq: number
  log_type: LogType
  message: string
  metadata: Record<string, unknown>
  created_at: number
}

export interface FileVersion {
  path: string
  from_step: number
  to_step: number | null
  sha256: string
  size: number
  mode: number
}

export interface LedgerLine {
  step_number: number
  kind: 'reserve' | 'charge' | 'refund'
  available: number
  used: number
}

/** One run with everything that belongs to it. */
export interface RunTables {
  run: Run
  /** By step number. */
  steps: Step[]
  queue: Map<number, Queued>
  waits: Map<number, Wait>
  /** By step number. */
  approvals: Map<number, Approval>
  /** In the order of the conversation. */
  messages: Message[]
  artifacts: Artifact[]
  logs: LogLine[]
  files: FileVersion[]
  ledger: LedgerLine[]
}

export interface Balance {
  available: number
  used: number
  /** What the account was opened with: its first ledger line. */
  opening: number
}

/** An object of Storage that is handed out for removal until that is confirmed. */
export interface RemovableObject extends StoredObject {
  not_before: number
  handed_at: number | null
  removed_at: number | null
}

export interface Tables {
  runs: Map<string, RunTables>
  balances: Map<string, Balance>
  issuers: Map<string, 'sub' | 'new'>
  /** By issuer and sub, as JSON. */
  principals: Map<string, { user_id: string; tenant_id: string }>
  /** By user and key, as JSON. */
  idempotency: Map<string, { body_sha256: string; run_id: string; created_at: number }>
  tickets: Map<
    string,
    {
      run_id: string
      issuer: string
      sub: string
      use_before: number
      expires_at: number
      connection: number
      delivered: boolean
    }
  >
  /** By job name. Each is handed out twice: a process that dies with the list in its hand has removed nothing. */
  jobsToRemove: Map<string, { requested_at: number; handed_out: boolean }>
  /** By bucket and name. */
  objectsToRemove: Map<string, RemovableObject>
  /** What stays of deleted runs, by user. */
  ledgersOfDeleted: Map<string, LedgerLine[]>
  switches: Set<{ tenant_id: string | null; tool_name: string | null }>
}

export function emptyTables(): Tables {
  return {
    runs: new Map(),
    balances: new Map(),
    issuers: new Map(),
    principals: new Map(),
    idempotency: new Map(),
    tickets: new Map(),
    jobsToRemove: new Map(),
    objectsToRemove: new Map(),
    ledgersOfDeleted: new Map(),
    switches: new Set(),
  }
}

/** What a function of the store works on. */
export interface Database {
  tables: Tables
  /** Microseconds since 1970. */
  now: () => number
  newId: () => string
}

export const SECOND = 1_000_000
/** What an integer column holds: 24.8 days. */
export const MAX_DURATION_MS = 2_147_483_647
export const DAY = 86_400 * SECOND
