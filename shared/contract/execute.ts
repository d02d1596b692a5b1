import * as z from 'zod'
import { BULK_VERBS, type BulkVerb } from '../core/bulk-verbs.ts'
import { AppError } from '../core/errors.ts'
import { RUN_MODES, RUN_STATUSES, type RunMode } from '../core/run.ts'
import { isUuid } from '../core/uuid.ts'
import { parseBody, runIdOf } from './input.ts'
import { planSchema, runRow } from './rows.ts'

/** Longest prompt, memory context and answer to a question, in characters (UTF-16 units): about 25,000 tokens. */
export const MAX_PROMPT_CHARACTERS = 100_000
const MAX_CONNECTORS = 50
const MAX_WORD_CHARACTERS = 200

const words = z.array(z.string().min(1).max(MAX_WORD_CHARACTERS)).max(MAX_CONNECTORS)

/** What callers of three generations send on create; unknown keys are ignored. Shapes of attachments are judged one by one. */
export const createBody = z.object({
  action: z.literal('create').nullish(),
  prompt: z.string(),
  project_id: z.string().max(MAX_WORD_CHARACTERS).nullish(),
  connector_ids: words.nullish(),
  task_type: z.string().max(MAX_WORD_CHARACTERS).nullish(),
  taskType: z.string().max(MAX_WORD_CHARACTERS).nullish(),
  mode: z.string().max(MAX_WORD_CHARACTERS).nullish(),
  params: z.record(z.string(), z.unknown()).nullish(),
  memory_context: z.union([z.string(), z.record(z.string(), z.unknown())]).nullish(),
  memoryContext: z.union([z.string(), z.record(z.string(), z.unknown())]).nullish(),
  connectors: z.unknown().optional(),
  templateId: z.unknown().optional(),
  thinkingLevel: z.unknown().optional(),
  privacyTier: z.unknown().optional(),
  tags: z.array(z.string().max(100)).max(50).nullish(),
  attachments: z
    .unknown()
    .optional()
    .describe('Storage objects {bucket, path}[]; also {name, url, type}[] with URLs in Storage'),
  auto_start: z.boolean().nullish(),
})

export const verbBody = z.object({
  action: z.enum(['start', 'stop', 'retry', 'pause', 'delete']),
  run_id: z.string(),
})
const stepNumber = z.int().min(0).max(1_000_000)
/** Tries one step of a run again: in place while it has no result, else in a new run that is forked there. */
export const retryStepBody = z.object({
  action: z.literal('retry'),
  run_id: z.string(),
  step_number: stepNumber,
})
export const forkBody = z.object({
  action: z.literal('fork'),
  run_id: z.string(),
  from_step: stepNumber.describe('The first step that is done anew'),
  message: z.string().nullish().describe('Stands before that step; at step 0 it is the new prompt'),
})
export const bulkBody = z.object({
  action: z.enum(BULK_VERBS),
  tag: z.string().min(1).max(100).describe('Instead of run_id: the oldest 100 runs with this tag'),
})
export const resumeBody = z.object({
  action: z.literal('resume'),
  run_id: z.string(),
  user_input: z.string().nullish(),
})
/** Answers a tool call that waits for its user's yes; the open ones are in the status answer's `approvals`. */
export const approvalBody = z.object({
  action: z.enum(['approve', 'deny']),
  run_id: z.string(),
  approval_id: z.string(),
  message: z.string().nullish().describe('With deny: why not, for the model'),
})
export const cancelBody = z.object({ run_id: z.string() })

/** A Storage object that the caller may read, named by bucket and path or (one old caller) by its URL. */
export type AttachmentRequest =
  | { kind: 'object'; bucket: string; path: string }
  | { kind: 'url'; name: string; url: string }
  | { kind: 'unknown' }

export interface CreateCommand {
  action: 'create'
  prompt: string
  mode: RunMode
  project_id: string | null
  connector_ids: string[]
  metadata: Record<string, unknown>
  memory_context: string | null
  tags: string[]
  attachments: AttachmentRequest[]
  auto_start: boolean
}
export type Command =
  | CreateCommand
  | { action: 'start' | 'stop' | 'retry' | 'pause' | 'delete'; run_id: string }
  | { action: 'retry_step'; run_id: string; step_number: number }
  | { action: 'fork'; run_id: string; from_step: number; message: string | null }
  | { action: 'bulk'; verb: BulkVerb; tag: string }
  | { action: 'resume'; run_id: string; user_input: string | null }
  | { action: 'approve' | 'deny'; run_id: string; approval_id: string; message: string | null }

/**
 * What a body asks for. Without `action` but with a `prompt` it is a create.
 *
 * @throws AppError unknown_action, prompt_required, run_id_required, run_not_found, invalid_request
 */
export function parseCommand(body: Record<string, unknown>): Command {
  const action: unknown = body.action ?? (Object.hasOwn(body, 'prompt') ? 'create' : undefined)
  if (isBulk(body, action)) return { action: 'bulk', verb: action, tag: parseBody(bulkBody, body).tag }
  switch (action) {
    case 'create':
      return parseCreate({ ...body, action })
    case 'retry': {
      const run_id = runIdOf(body.run_id, body.task_id)
      if (body.step_number === undefined || body.step_number === null) return { action, run_id }
      const { step_number } = parseBody(retryStepBody, { ...body, run_id })
      return { action: 'retry_step', run_id, step_number }
    }
    case 'start':
    case 'stop':
    case 'pause':
    case 'delete':
      return { action, run_id: runIdOf(body.run_id, body.task_id) }
    case 'fork': {
      const run_id = runIdOf(body.run_id, body.task_id)
      const { from_step, message } = parseBody(forkBody, { ...body, run_id })
      return { action, run_id, from_step, message: longText('message', message) }
    }
    case 'resume': {
      const run_id = runIdOf(body.run_id, body.task_id)
      const { user_input } = parseBody(resumeBody, { ...body, run_id })
      return { action, run_id, user_input: longText('user_input', user_input) }
    }
    case 'approve':
    case 'deny': {
      const run_id = runIdOf(body.run_id, body.task_id)
      const { approval_id, message } = parseBody(approvalBody, { ...body, run_id })
      // what is no id is the id of nothing
      if (!isUuid(approval_id)) throw new AppError('not_found', 'Approval not found')
      return { action, run_id, approval_id, message: longText('message', message) }
    }
    default:
      throw new AppError('unknown_action', `Unknown action: ${named(action)}`)
  }
}

/** Whether a command may lead to new runs, which are limited more than other calls. */
export function makesRuns(command: Command): boolean {
  const { action } = command
  if (action === 'bulk') return command.verb === 'retry'
  return action === 'create' || action === 'retry' || action === 'retry_step' || action === 'fork'
}

/** A tag stands for many runs only where no single one is named. */
function isBulk(body: Record<string, unknown>, action: unknown): action is BulkVerb {
  const { tag, run_id, task_id } = body
  return typeof tag === 'string' && !run_id && !task_id && BULK_VERBS.some((verb) => verb === action)
}

function named(action: unknown): string {
  return (typeof action === 'object' ? JSON.stringify(action) : String(action)).slice(0, 100)
}

function parseCreate(body: Record<string, unknown>): CreateCommand {
  if (typeof body.prompt !== 'string' || body.prompt.trim() === '') {
    throw new AppError('prompt_required', 'Prompt is required')
  }
  const input = parseBody(createBody, body)
  if (input.prompt.length > MAX_PROMPT_CHARACTERS) {
    throw new AppError('invalid_request', `Prompt is too long: at most ${MAX_PROMPT_CHARACTERS} characters`)
  }
  const metadata: Record<string, unknown> = {}
  for (const key of ['params', 'connectors', 'templateId', 'thinkingLevel', 'privacyTier'] as const) {
    if (input[key] !== undefined && input[key] !== null) metadata[key] = input[key]
  }
  const taskType = input.task_type ?? input.taskType
  if (taskType) metadata.task_type = taskType
  const project = input.project_id?.trim() || null
  if (project !== null && !isUuid(project)) metadata.project_requested = project
  return {
    action: 'create',
    prompt: input.prompt,
    mode: modeOf(input.mode, taskType, metadata),
    project_id: isUuid(project) ? project : null,
    connector_ids: [...new Set(input.connector_ids ?? [])],
    metadata,
    memory_context: memoryOf(input.memory_context ?? input.memoryContext),
    tags: input.tags ?? [],
    attachments: attachmentsOf(input.attachments),
    auto_start: input.auto_start ?? true,
  }
}

/** A word outside the enum becomes `custom` and is kept as it was sent; without a mode the task's type may name one. */
function modeOf(
  sent: string | null | undefined,
  taskType: string | null | undefined,
  metadata: Record<string, unknown>,
): RunMode {
  const word = sent?.trim()
  if (!word) return RUN_MODES.find((mode) => mode === taskType) ?? 'chat'
  const known = RUN_MODES.find((mode) => mode === word)
  if (known !== undefined) return known
  metadata.mode_requested = sent
  return 'custom'
}

function memoryOf(value: string | Record<string, unknown> | null | undefined): string | null {
  if (value === null || value === undefined) return null
  return longText('memory_context', typeof value === 'string' ? value : JSON.stringify(value))
}

function longText(name: string, value: string | null | undefined): string | null {
  if (value === null || value === undefined || value.trim() === '') return null
  if (value.length > MAX_PROMPT_CHARACTERS) {
    throw new AppError('invalid_request', `${name} is too long: at most ${MAX_PROMPT_CHARACTERS} characters`)
  }
  return value
}

function attachmentsOf(value: unknown): AttachmentRequest[] {
  if (value === undefined || value === null) return []
  return (Array.isArray(value) ? value : [value]).map(attachmentOf)
}

function attachmentOf(value: unknown): AttachmentRequest {
  if (typeof value !== 'object' || value === null) return { kind: 'unknown' }
  const { bucket, path, url, name } = value as Record<string, unknown>
  if (typeof bucket === 'string' && typeof path === 'string') return { kind: 'object', bucket, path }
  if (typeof url === 'string') return { kind: 'url', url, name: typeof name === 'string' ? name : '' }
  return { kind: 'unknown' }
}

/** Why a body is refused before it is read as a command is in the error; these are the answers. */
export const createAnswer = z.object({
  success: z.literal(true),
  run_id: z.uuid(),
  status: z.enum(RUN_STATUSES),
  message: z.string(),
  task: z.object({
    id: z.uuid(),
    run_id: z.uuid(),
    prompt: z.string(),
    status: z.enum(RUN_STATUSES),
    created_at: z.string(),
  }),
})
export type CreateAnswerBody = z.infer<typeof createAnswer>

export const verbAnswer = z.object({
  success: z.literal(true),
  run_id: z.uuid(),
  status: z.enum(RUN_STATUSES),
  message: z.string(),
  plan: planSchema.optional(),
})
export type VerbAnswerBody = z.infer<typeof verbAnswer>

/** How each run of a tag fared, oldest first. */
export const bulkAnswer = z.object({
  success: z.literal(true),
  tag: z.string(),
  results: z
    .array(
      z.object({
        run_id: z.uuid(),
        success: z.boolean(),
        status: z.enum(RUN_STATUSES).optional(),
        new_run_id: z.uuid().optional(),
        code: z.string().optional(),
        error: z.string().optional(),
      }),
    )
    .max(100),
  count: z.int(),
  /** More runs of the tag are in a state that the action is for: call again. */
  has_more: z.boolean(),
  message: z.string(),
})
export type BulkAnswerBody = z.infer<typeof bulkAnswer>

export const runsAnswer = z.object({
  success: z.literal(true),
  runs: z.array(runRow.extend({ progress_percentage: z.int().min(0).max(100) })),
  count: z.int(),
  has_more: z.boolean(),
  next_cursor: z.string().nullable(),
})
