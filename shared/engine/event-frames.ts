import type { NamedFrame } from '../contract/events.ts'
import { outputType, showArtifact } from '../contract/present.ts'
import type { RunRow, StepRow } from '../contract/rows.ts'
import { progressOf } from '../core/progress.ts'
import { RUN_STATUSES, type RunStatus, STEP_STATUSES, type StepStatus } from '../core/run.ts'
import type { StoredEvent } from '../ports/store.ts'
import { finalFrames } from './final-frames.ts'

/** A step writes about so many rows to its run's log; a row's number thus tells how many steps were done by then. */
const ROWS_PER_STEP = 4

/**
 * The named frames of one stored row, in order; at least one, so that the row's id always reaches the reader. They depend on the row
 * and what it refers to, never on the connection: a reader that comes back finds the same parts.
 */
export function eventFrames(event: StoredEvent, run: RunRow): NamedFrame[] {
  const frames = framesOf(event, run)
  return frames.length > 0 ? frames : [{ event: 'heartbeat', data: { timestamp: event.log.created_at } }]
}

function framesOf(event: StoredEvent, run: RunRow): NamedFrame[] {
  const data = record(event.log.metadata.data)
  const moment: Moment = { seq: event.log.seq, run }
  switch (event.log.metadata.event) {
    case 'run':
      return [statusFrame(moment, runStatus(data.status) ?? run.status, data)]
    case 'plan':
      return [statusFrame(moment, 'planning', data)]
    case 'phase':
      return phaseFrames(moment, data)
    case 'step':
      return event.step === null ? [] : stepFrames(event.step, stepStatus(data.status) ?? event.step.status)
    case 'message':
      return messageFrames(event, data)
    case 'user_input_required':
      return questionFrames(event)
    case 'artifact':
      return artifactFrames(event)
    case 'final':
      return finalFrames(event, run, statusFrame(moment, runStatus(data.status) ?? run.status, data))
    default:
      return []
  }
}

interface Moment {
  seq: number
  run: RunRow
}

function statusFrame({ seq, run }: Moment, status: RunStatus, data: Record<string, unknown>): NamedFrame {
  const phases = run.plan?.phases ?? []
  const current_phase = count(data.current_phase) ?? 0
  const total_phases = count(data.total_phases) ?? phases.length
  const progress = progressOf({
    status,
    current_phase,
    total_phases,
    finished_steps: Math.floor(seq / ROWS_PER_STEP),
  })
  return {
    event: 'status',
    data: { status, current_phase, total_phases, progress, phase: phases[current_phase - 1]?.name ?? null },
  }
}

function phaseFrames(moment: Moment, data: Record<string, unknown>): NamedFrame[] {
  const from_phase = count(data.from_phase) ?? 0
  const to_phase = count(data.to_phase) ?? 0
  const status = statusFrame(moment, 'executing', { ...data, current_phase: to_phase })
  const percentage = status.event === 'status' ? status.data.progress : 0
  return [
    { event: 'phase', data: { from_phase, to_phase } },
    { event: 'progress', data: { percentage } },
    status,
  ]
}

/** The row as it was when the event happened: it is joined as it is now. */
function stepAt(step: StepRow, status: StepStatus): StepRow {
  if (status !== 'pending' && status !== 'running') return { ...step, status }
  return {
    ...step,
    status,
    tool_output: null,
    output_text: null,
    completed_at: null,
    duration_ms: null,
    error_code: null,
    error_message: null,
  }
}

function stepFrames(now: StepRow, status: StepStatus): NamedFrame[] {
  const step = stepAt(now, status)
  const { id: step_id, tool_name, tool_input, tool_output, duration_ms } = step
  const frame: NamedFrame = { event: 'step', data: { step } }
  if (step.tool_type === 'plan' || status === 'pending') return [frame]
  if (status === 'running')
    return [frame, { event: 'tool_call', data: { step_id, tool_name, tool_input, status } }]
  const success = status === 'completed'
  const error = success ? null : (step.error_message ?? `The step was ${status}`)
  const output = tool_output ?? step.output_text
  return [
    ...terminalFrames(step),
    frame,
    { event: 'tool_result', data: { step_id, tool_name, success, output, error, duration_ms } },
  ]
}

/** What a command wrote, as stored: for readers who were not there while it ran. Always first, so that part numbers hold. */
function terminalFrames({ id, tool_type, tool_output }: StepRow): NamedFrame[] {
  if (tool_type !== 'shell' && tool_type !== 'code') return []
  return (['stdout', 'stderr'] as const).flatMap((stream): NamedFrame[] => {
    const content = tool_output?.[stream]
    if (typeof content !== 'string' || content === '') return []
    return [{ event: 'terminal', data: { step_id: id, content, stream } }]
  })
}

/**
 * What is said on the way is also a thought: the oldest reader knows no `message`. The answer is not, it comes to that reader with
 * `complete`.
 */
function messageFrames({ message, step }: StoredEvent, data: Record<string, unknown>): NamedFrame[] {
  if (message === null) return []
  const saidByTool = step !== null && step.tool_type !== 'plan'
  const { id: message_id, role, content } = message
  const frame: NamedFrame = { event: 'message', data: { message_id, role, content } }
  return data.kind === 'thinking' || saidByTool ? [{ event: 'thinking', data: { content } }, frame] : [frame]
}

/** What the run asks its user, in words that every reader shows. */
function questionFrames({ log }: StoredEvent): NamedFrame[] {
  return [
    { event: 'thinking', data: { content: log.message } },
    { event: 'message', data: { message_id: log.id, role: 'assistant', content: log.message } },
  ]
}

function artifactFrames({ artifact }: StoredEvent): NamedFrame[] {
  if (artifact === null) return []
  const shown = showArtifact(artifact)
  const common = {
    id: shown.id,
    file_name: shown.file_name,
    url: shown.download_url,
    mime_type: shown.mime_type,
  }
  const output = { ...common, type: outputType(shown.mime_type) }
  return [
    { event: 'artifact', data: { artifact: shown } },
    { event: 'output', data: { ...common, output } },
  ]
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
}

function count(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) ? value : undefined
}

function runStatus(value: unknown): RunStatus | undefined {
  return RUN_STATUSES.find((status) => status === value)
}

function stepStatus(value: unknown): StepStatus | undefined {
  return STEP_STATUSES.find((status) => status === value)
}
