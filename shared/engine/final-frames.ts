import type { NamedFrame } from '../contract/events.ts'
import { percentageOf } from '../contract/present.ts'
import type { RunRow } from '../contract/rows.ts'
import type { StoredEvent } from '../ports/store.ts'

const SENTENCES: Readonly<Record<string, string>> = {
  completed: 'Run completed',
  cancelled: 'Run was cancelled',
  timeout: 'Run timed out',
  failed: 'Run failed',
}

/** The end of a run: two old readers take every `complete` for success, so only a completed run has one. */
export function finalFrames({ log }: StoredEvent, run: RunRow, status: NamedFrame): NamedFrame[] {
  const data = log.metadata.data as Record<string, unknown> | undefined
  return [status, endFrame(run, data ?? {})]
}

/** The end of a run whose log does not tell it (it ended before there was such a log). */
export function impliedEnd(run: RunRow): NamedFrame[] {
  const { status, current_phase, plan } = run
  const total_phases = plan?.phases.length ?? 0
  const phase = plan?.phases[current_phase - 1]?.name ?? null
  return [
    { event: 'status', data: { status, current_phase, total_phases, progress: percentageOf(run), phase } },
    endFrame(run, {}),
  ]
}

function endFrame(run: RunRow, data: Record<string, unknown>): NamedFrame {
  const { status } = run
  const sentence = SENTENCES[status] ?? `Run is ${status}`
  if (status === 'completed') {
    const result = text(data.result) ?? text(run.metadata.result)
    return { event: 'complete', data: { status, message: sentence, result } }
  }
  const message = text(data.error_message) ?? run.error_message ?? sentence
  return {
    event: 'error',
    data: { message, code: text(data.error_code) ?? run.error_code ?? status, status },
  }
}

function text(value: unknown): string | null {
  return typeof value === 'string' ? value : null
}
