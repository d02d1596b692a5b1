import type { ArtifactRow, LogRow, MessageRow, RunRow, StepRow } from '../contract/rows.ts'
import type { BulkVerb } from '../core/bulk-verbs.ts'
import type { Plan } from '../core/plan.ts'
import type { LogType, RunMode, RunStatus, ToolType } from '../core/run.ts'
import type { NewStep } from '../core/steps.ts'
import type { Principal } from './identity.ts'
import type { Publication } from './scheduler.ts'

/** One method is one SQL function is one transaction. All reject with AppError only; `unavailable` means: not known whether it happened. */

/** A file of a run's workspace; bytes are the blob `sha256` of the run's owner. */
export interface WorkspaceFile {
  path: string
  sha256: string
  /** Bytes. */
  size: number
  /** Unix permission bits, e.g. 0o644. */
  mode: number
}

/** Limits that a run is created with; stored in agent_runs.config.limits and applied by SQL from there. */
export interface RunLimits {
  max_steps: number
  timeout_seconds: number
  /** Runs of the user, and of the tenant (where it is not the user), that may be open at once, this one included; absent: any number. */
  max_open_runs_per_user?: number
  max_open_runs_per_tenant?: number
}

export interface CreateRun {
  principal: Principal
  prompt: string
  mode: RunMode
  project_id: string | null
  connector_ids: string[]
  metadata: Record<string, unknown>
  memory_context: string | null
  tags: string[]
  attachments: { path: string; name: string; bucket: string; size: number }[]
  files: WorkspaceFile[]
  auto_start: boolean
  limits: RunLimits
  opening_credits: number
  /** With the hash of the body; null without an Idempotency-Key header. */
  idempotency: { key: string; body_sha256: string } | null
  /** Messages for the run's log, e.g. about an attachment that was left out. */
  warnings: string[]
}

export interface RunAnswer {
  run: RunRow
  publications: Publication[]
}
export interface CreateAnswer extends RunAnswer {
  /** True when an Idempotency-Key repeated an earlier create: `run` is as it is now. */
  replayed: boolean
}
export interface CancelAnswer extends RunAnswer {
  /** Jobs that were out and are to be removed. */
  jobs: string[]
}

export interface ReadRun {
  principal: Principal
  run_id: string
  steps: { limit: number; before: number | null } | null
  messages: { limit: number } | null
  artifacts: { limit: number } | null
  logs: { limit: number } | null
}
export interface RunSnapshot {
  run: RunRow
  steps: StepRow[]
  has_more_steps: boolean
  messages: MessageRow[]
  has_more_messages: boolean
  artifacts: ArtifactRow[]
  has_more_artifacts: boolean
  logs: LogRow[]
  has_more_logs: boolean
  /** What the run asks its user to allow, oldest call first; empty unless it waits for that. */
  approvals: OpenApproval[]
}

/** A tool call that waits for its user's yes. */
export interface OpenApproval {
  approval_id: string
  step_number: number
  step_id: string
  tool_name: string
  /** Exactly what would be carried out. */
  tool_input: Record<string, unknown>
  asked_at: string
}

export interface ReadLogs {
  principal: Principal
  run_id: string
  /** After this seq, or after this ISO time (microseconds count); both null: from the start. */
  after_seq: number | null
  after_time: string | null
  limit: number
}
export interface LogPage {
  logs: LogRow[]
  has_more: boolean
  status: RunStatus
}

/** A log row with what it refers to, joined: what a stream needs to make its frames. */
export interface StoredEvent {
  log: LogRow
  step: StepRow | null
  message: MessageRow | null
  artifact: ArtifactRow | null
}
export interface EventPage {
  run: RunRow
  events: StoredEvent[]
  has_more: boolean
}

export interface ListRuns {
  principal: Principal
  limit: number
  /** Keyset cursor: created_at and id of the last row seen. */
  before: { created_at: string; id: string } | null
  status: RunStatus | null
}

/** What execute, status and logs need: every call acts as the principal, "not found" and "not yours" are one answer (run_not_found). */
export interface FrontStore {
  /** Resolves the principal to our user id, and whether a create with this key was answered before (attachments are then not read again). */
  prepareCreate(input: {
    principal: Principal
    idempotency: { key: string; body_sha256: string } | null
    opening_credits: number
    /** Rejects with what a create with these would, as things stand now: `too_many_runs`, `insufficient_credits`. */
    checks?: { limits: RunLimits; auto_start: boolean }
  }): Promise<{ user_id: string; replay: CreateAnswer | null }>
  createRun(input: CreateRun): Promise<CreateAnswer>
  startRun(input: { principal: Principal; run_id: string }): Promise<RunAnswer>
  cancelRun(input: { principal: Principal; run_id: string }): Promise<CancelAnswer>
  retryRun(input: {
    principal: Principal
    run_id: string
    limits: RunLimits
    opening_credits: number
    idempotency: { key: string; body_sha256: string } | null
  }): Promise<CreateAnswer>
  resumeRun(input: { principal: Principal; run_id: string; user_input: string | null }): Promise<RunAnswer>
  pauseRun(input: { principal: Principal; run_id: string }): Promise<RunAnswer>
  /** Allows or denies a call that the run asks about; the last answer lets the run go on. A repeat of an answer changes nothing. */
  answerApproval(input: {
    principal: Principal
    run_id: string
    approval_id: string
    approved: boolean
    /** With a no: for the model. */
    message: string | null
  }): Promise<RunAnswer>
  readRun(input: ReadRun): Promise<RunSnapshot>
  readLogs(input: ReadLogs): Promise<LogPage>
  readEvents(input: {
    principal: Principal
    run_id: string
    after_seq: number
    limit: number
  }): Promise<EventPage>
  listRuns(input: ListRuns): Promise<{ runs: RunRow[]; has_more: boolean }>
  /** A random ticket (only its SHA-256 is stored) for one run's stream; `expires_at` is the caller's token's end. */
  issueTicket(input: {
    principal: Principal
    run_id: string
    ticket_sha256: string
    expires_at: string
  }): Promise<void>
  /** The principal a ticket stands for, while it is valid; raises `connection` so that an older stream knows it was replaced. */
  useTicket(input: { ticket_sha256: string; run_id: string }): Promise<{
    principal: Principal
    connection: number
    expires_at: string
    /** The run had ended and its end was already delivered on an earlier connection. */
    delivered: boolean
  }>
  /** Marks that the end of the run was delivered on this ticket. */
  closeTicket(input: { ticket_sha256: string; run_id: string }): Promise<void>
  /** Rejects with `unavailable` when the database is not ready (schema missing, role could bypass row security). */
  ready(): Promise<void>
}

/** What new runs are made with: as in `CreateRun`. */
export interface NewRunTerms {
  limits: RunLimits
  idempotency: { key: string; body_sha256: string } | null
}

/** How one run of a bulk verb fared. */
export type BulkResult =
  | { run_id: string; ok: true; status: RunStatus; new_run_id?: string }
  | { run_id: string; ok: false; code: string; message: string }

export interface BulkAnswer {
  results: BulkResult[]
  publications: Publication[]
  jobs: string[]
  /** More runs of the tag are in a state that the verb is for: call again. */
  has_more: boolean
}

/** The verbs that came after the old callers'. Same rules as FrontStore. */
export interface VerbStore {
  /** A new run that shares the history before `from_step`; a message stands before that step, in the place of an earlier one there. */
  forkRun(
    input: NewRunTerms & {
      principal: Principal
      run_id: string
      from_step: number
      message: string | null
    },
  ): Promise<CreateAnswer>
  /** In place (the answer's run is the same) while the step has no result; a step that failed or was cancelled is forked at. */
  retryStep(
    input: NewRunTerms & { principal: Principal; run_id: string; step_number: number },
  ): Promise<CreateAnswer & { forked: boolean }>
  /** Removes an ended run with everything in it but the ledger; the answer's run is as it was. */
  deleteRun(input: { principal: Principal; run_id: string }): Promise<RunAnswer>
  /** A verb for the oldest 100 runs of a tag that it is for; each succeeds or fails by itself. */
  bulkRuns(input: {
    principal: Principal
    tag: string
    verb: BulkVerb
    limits: RunLimits
    opening_credits: number
  }): Promise<BulkAnswer>
}

/** A step as the engine works on it. */
export interface ClaimedStep {
  run_id: string
  step_number: number
  step_id: string
  epoch: number
  /** Fencing token of this claim: every write names it. */
  fence: number
  token: string
  attempt: number
  lease_seconds: number
  kind: 'model' | 'tool'
  tool_type: ToolType
  tool_name: string
  tool_input: Record<string, unknown>
  tool_call_id: string | null
  phase_number: number
  /** Last error of an earlier attempt. */
  last_error: string | null
  /** Set when this step was parked for a job before: the claim is a check on it. */
  job: { name: string; confirmed: boolean; deadline_at: string; past_deadline: boolean } | null
}

/** A stored message of the conversation; metadata.blocks of an assistant message holds the model's content blocks. */
export interface ConversationMessage {
  step_number: number
  role: 'user' | 'assistant' | 'tool'
  content: string
  tool_call_id: string | null
  tool_name: string | null
  is_error: boolean
  blocks: unknown[] | null
  /** Files that came with a user message: `{path, name, size}`. */
  attachments: Record<string, unknown>[]
}

export interface Claim {
  step: ClaimedStep
  run: {
    id: string
    user_id: string
    tenant_id: string
    prompt: string
    mode: RunMode
    status: RunStatus
    plan: Plan | null
    current_phase: number
    next_step: number
    limits: RunLimits
    memory_context: string | null
    created_at: string
    timeout_at: string
  }
  /** Only for model steps: the first user message and the tail of the conversation, oldest first. */
  conversation: ConversationMessage[]
  /** How many messages the run has in all, those that did not fit included. */
  messages: number
  /** Sequence number of the run's newest log row. */
  log_seq: number
  workspace: {
    files: number
    bytes: number
    /** The first files by path, at most 200; `complete` when these are all. */
    entries: WorkspaceFile[]
    complete: boolean
  }
}

export type ClaimRefusal =
  /** Jobs of the ended run that are still out. */
  | { refused: 'final'; publications: Publication[]; jobs_to_remove: string[] }
  | {
      /** busy: its run or tenant has as many calls out as it may; newer: only newer code can read this run. */
      refused: 'done' | 'paused' | 'not_due' | 'unknown' | 'switched_off' | 'busy' | 'newer'
      publications: Publication[]
    }
  | { refused: 'leased'; retry_after_seconds: number; publications: Publication[] }

export type ClaimAnswer = { claim: Claim } | ClaimRefusal

/** Names the claim that writes. */
export interface Fence {
  run_id: string
  step_number: number
  fence: number
  token: string
}

export interface NewMessage {
  /** null: drawn by the store. */
  id: string | null
  role: 'user' | 'assistant' | 'tool'
  content: string
  tool_call_id: string | null
  tool_name: string | null
  is_error: boolean
  blocks: unknown[] | null
}

export interface NewArtifact {
  filename: string
  file_path: string
  file_type: string
  file_size: number
  content_hash: string
  storage_bucket: string
  storage_key: string
  signed_url: string
  signed_url_expires_at: string
}

export interface NewLog {
  log_type: LogType
  message: string
  /** Stream event name, e.g. `thinking`. */
  event: string | null
  data: Record<string, unknown>
}

/** How a step ended and what follows: the pure decision of core/decide.ts, applied by SQL in one transaction. */
export interface StepCommit {
  status: 'completed' | 'failed'
  output: Record<string, unknown> | null
  output_text: string | null
  error_code: string | null
  error_message: string | null
  tokens_used: number
  messages: NewMessage[]
  artifacts: NewArtifact[]
  logs: NewLog[]
  files: { put: WorkspaceFile[]; removed: string[] }
  /** Hashes whose bytes were verified in this attempt; `files.put` may name only these or hashes of the run's own files. */
  verified: string[]
  next:
    | { kind: 'steps'; steps: NewStep[] }
    /** A member of a group: SQL schedules `model_step` when it is the last one to commit. */
    | { kind: 'group'; model_step: NewStep }
    | { kind: 'wait_user'; question: string; steps: NewStep[] }
    /** A group with calls that need an approval: all of it waits until each of these is answered. */
    | { kind: 'wait_approval'; question: string; steps: NewStep[] }
    | { kind: 'complete'; result: string }
    | { kind: 'fail'; code: string; message: string }
  plan: Plan | null
  current_phase: number | null
}

/** How many tool calls may be out at once. Without it a claim has no limit (as code of earlier versions asks). */
export interface ParallelLimits {
  run: number
  tenant: number
  /** Tools that end within their step: they are not counted. */
  inline_tools: readonly string[]
}

/** Version of what a call can read or of what it writes (core/protocol.ts); left out: that of this code. */
export interface Versioned {
  protocol?: number
}

/** Asks a commit to hand back the next claim, so that one invocation can go on (STEP_BURST). */
export interface BurstClaim {
  lease_seconds: number
  /** Tools that this invocation can carry out itself; a step of any other is published. */
  inline_tools: readonly string[]
  /** As in `claimStep`. */
  protocol?: number
}

export interface CommitAnswer {
  /** False: this writer was stale, nothing was written. */
  committed: boolean
  run_status: RunStatus
  publications: Publication[]
  /** Sequence number of the run's newest log row. */
  log_seq: number
  /** Only to a `burst`: the one step that became due, claimed in the same transaction. It is not among the publications. */
  claim?: Claim
}

export interface JobStart {
  tool_name: string
  tool_input: Record<string, unknown>
  run_id: string
  user_id: string
  idempotency_key: string
  files: WorkspaceFile[]
}

/** An object of Storage. */
export interface StoredObject {
  bucket: string
  name: string
}

/** What comes after sweepDue: objects that were not confirmed are handed out again. */
export interface ObjectStore {
  objectsRemoved(input: { objects: StoredObject[] }): Promise<void>
}

/** What the database has to know for its own timer. */
export interface RetentionStore {
  /** Ended runs are removed after so many days; 0: never. */
  setRetention(input: { days: number }): Promise<void>
}

/** What the step service needs. Its database role may execute these functions and nothing else. */
/** What the door asks for a job that is out. */
export type JobStore = Pick<StepStore, 'startJob' | 'checkJob' | 'finishJob' | 'ready'>

export interface StepStore {
  claimStep(
    input: Versioned & {
      run_id: string
      step_number: number
      lease_seconds: number
      parallel?: ParallelLimits
    },
  ): Promise<ClaimAnswer>
  renewLease(input: Fence & { lease_seconds: number }): Promise<{ held: boolean; cancelled: boolean }>
  commitStep(
    input: Fence & Versioned & { commit: StepCommit; burst?: BurstClaim | null },
  ): Promise<CommitAnswer>
  /** Gives the step back, to be tried again after the delay: counts as an attempt unless `free`. */
  releaseStep(input: Fence & { delay_seconds: number; error: string; free: boolean }): Promise<CommitAnswer>
  /** Commits the wait for a job; only then is the job made. */
  parkStep(
    input: Fence & {
      job_name: string
      token_sha256: string
      deadline_seconds: number
      check_seconds: number
    },
  ): Promise<CommitAnswer>
  /** The runner's first call: what the job is to do. Rejects: unauthorized, already_answered, not_ready. */
  startJob(
    input: Versioned & { run_id: string; step_number: number; token_sha256: string },
  ): Promise<JobStart>
  /** Whether this token's job is awaited now, for the door's other routes. Same rejections. */
  checkJob(input: {
    run_id: string
    step_number: number
    token_sha256: string
    sha256?: string
    /** Bytes of `sha256` are about to be stored for this job: they are kept from removal, or `unavailable` while they are removed. */
    storing?: boolean
  }): Promise<{
    user_id: string
    step_id: string
    cancelled: boolean
    /** True when `sha256` is given and is a file of the run's workspace, now or earlier. */
    owned: boolean
  }>
  /** The job's end, committed once: the same token and body hash get the first answer, another body is `already_answered`. */
  finishJob(
    input: Versioned & {
      run_id: string
      step_number: number
      token_sha256: string
      body_sha256: string
      commit: StepCommit
    },
  ): Promise<CommitAnswer>
  /** The only write after a final status: settles what a step in flight had reserved. */
  settleAttempt(input: Fence & { tokens_used: number; used: boolean }): Promise<void>
  /** Files of the workspace by exact path or below a folder, at most `limit`. */
  readFiles(input: {
    run_id: string
    paths: string[] | null
    under: string | null
    limit: number
  }): Promise<WorkspaceFile[]>
  /** Publications that are due and unclaimed, each with its publication number raised. */
  sweepDue(input: { limit: number }): Promise<{
    publications: Publication[]
    jobs_to_remove: string[]
    /** Runs that could not be ended or settled this time; each is tried again a minute later. */
    failed?: number
    /** Invariants that are broken, counted until an operator has looked at them, and those that nobody was told of yet. */
    violations?: number
    new_violations?: { invariant: string; run_id: string | null; detail: string }[]
    /** Objects of Storage that nothing refers to any more; absent where runs cannot be deleted. */
    objects_to_remove?: StoredObject[]
  }>
  /** Rejects with `unavailable` when the database is not ready (schema missing, role could bypass row security). */
  ready(): Promise<void>
}
