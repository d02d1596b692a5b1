import * as z from 'zod'
import { RUN_STATUSES } from '../core/run.ts'
import { shownArtifact, shownLog } from './present.ts'
import { messageRow, stepRow } from './rows.ts'

const percentage = z.int().min(0).max(100)
const status = z.enum(RUN_STATUSES)
const output = z.object({
  id: z.uuid(),
  type: z.string(),
  file_name: z.string(),
  url: z.string().nullable(),
  mime_type: z.string(),
})

/** Events of the named stream. The name stands in the SSE `event:` field and as `type` in the JSON: one old caller reads each. */
export const namedEvents = {
  status: z.object({
    status,
    current_phase: z.int(),
    total_phases: z.int(),
    progress: percentage,
    phase: z.string().nullable(),
  }),
  step: z.object({ step: stepRow }),
  thinking: z.object({ content: z.string() }),
  tool_call: z.object({
    step_id: z.uuid(),
    tool_name: z.string(),
    tool_input: z.record(z.string(), z.unknown()),
    status: z.string(),
  }),
  tool_result: z.object({
    step_id: z.uuid(),
    tool_name: z.string(),
    success: z.boolean(),
    output: z.unknown(),
    error: z.string().nullable(),
    duration_ms: z.int().nullable(),
  }),
  terminal: z.object({ step_id: z.uuid(), content: z.string(), stream: z.enum(['stdout', 'stderr']) }),
  message: z.object({ message_id: z.uuid(), role: messageRow.shape.role, content: z.string() }),
  /** Text of a message while it is written; the `message` with the same id replaces it. */
  message_delta: z.object({ message_id: z.uuid(), content: z.string() }),
  phase: z.object({ from_phase: z.int(), to_phase: z.int() }),
  progress: z.object({ percentage }),
  output: output.omit({ type: true }).extend({ output }),
  artifact: z.object({ artifact: shownArtifact }),
  heartbeat: z.object({ timestamp: z.string() }),
  complete: z.object({ status, message: z.string(), result: z.string().nullable() }),
  error: z.object({ message: z.string(), code: z.string(), status: status.nullable() }),
  /** The access token ended; the run goes on. Unknown to old readers, who see the connection end. */
  expired: z.object({ message: z.string(), code: z.literal('unauthorized') }),
  /** The stream reached the time limit of a request, or its process ends: go on from the last id. Unknown to old readers. */
  interrupted: z.object({ reason: z.enum(['time_limit', 'shutdown']) }),
}
export type EventName = keyof typeof namedEvents
export type NamedFrame = { [N in EventName]: { event: N; data: z.infer<(typeof namedEvents)[N]> } }[EventName]

/** Events of `mode=stream`: no names, a `type` in the JSON. */
export const plainEvents = {
  connected: z.object({ type: z.literal('connected'), run_id: z.uuid() }),
  log: z.object({ type: z.literal('log'), data: shownLog }),
  complete: z.object({ type: z.literal('complete'), status }),
  error: z.object({ type: z.literal('error'), message: z.string() }),
}
export type PlainFrame = z.infer<(typeof plainEvents)[keyof typeof plainEvents]>

/** Text of one SSE frame; without an id the reader's last id stays. */
export function namedText({ event, data }: NamedFrame, id: string | null): string {
  return `${id === null ? '' : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify({ ...data, type: event })}\n\n`
}

export function plainText(frame: PlainFrame, id: string | null): string {
  return `${id === null ? '' : `id: ${id}\n`}data: ${JSON.stringify(frame)}\n\n`
}
