import { percentageOf, showArtifact, showLog, showRun } from './present.ts'
import type { ArtifactRow, LogRow, MessageRow, RunRow, StepRow } from './rows.ts'
import type { StatusAnswer, StatusRequest } from './status.ts'

interface Snapshot {
  run: RunRow
  steps: StepRow[]
  has_more_steps: boolean
  messages: MessageRow[]
  has_more_messages: boolean
  artifacts: ArtifactRow[]
  has_more_artifacts: boolean
  logs: LogRow[]
  has_more_logs: boolean
  approvals: StatusAnswer['approvals']
}

/** A run as status answers it: only the parts that were asked for, under all the names that screens read. */
export function showStatus(snapshot: Snapshot, asked: StatusRequest): StatusAnswer {
  const run = showRun(snapshot.run)
  const percentage = percentageOf(snapshot.run)
  const artifacts = snapshot.artifacts.map(showArtifact)
  return {
    success: true,
    run,
    task: { ...run, progress_percentage: percentage },
    progress: {
      percentage,
      current_phase: run.current_phase,
      total_phases: run.plan?.phases.length ?? 0,
      status: run.status,
    },
    ...(asked.steps && { steps: snapshot.steps, has_more_steps: snapshot.has_more_steps }),
    ...(asked.messages && { messages: snapshot.messages, has_more_messages: snapshot.has_more_messages }),
    ...(asked.artifacts && {
      artifacts,
      outputs: artifacts,
      has_more_artifacts: snapshot.has_more_artifacts,
    }),
    ...(asked.logs && { logs: snapshot.logs.map(showLog), has_more_logs: snapshot.has_more_logs }),
    approvals: snapshot.approvals,
  }
}
