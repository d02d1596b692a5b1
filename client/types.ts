import type * as z from 'zod'
import type { ErrorBody } from '../shared/contract/error.ts'
import type { EventName, namedEvents } from '../shared/contract/events.ts'
import type {
  BulkAnswerBody,
  CreateAnswerBody,
  createBody,
  runsAnswer,
  VerbAnswerBody,
} from '../shared/contract/execute.ts'
import type { logsAnswer, ticketAnswer } from '../shared/contract/logs.ts'
import type { shownArtifact, shownLog, shownRun, shownTask } from '../shared/contract/present.ts'
import type { MessageRow, planSchema, StepRow } from '../shared/contract/rows.ts'
import type { StatusAnswer as StatusAnswerBody, statusBody } from '../shared/contract/status.ts'
import type { BulkVerb } from '../shared/core/bulk-verbs.ts'
import type {
  FinalStatus as CoreFinalStatus,
  RunMode as CoreRunMode,
  RunStatus as CoreRunStatus,
} from '../shared/core/run.ts'

// Made from the service's own schemas. The build writes them out in full, so that the published declarations need nothing else.

export type RunStatus = CoreRunStatus
export type FinalStatus = CoreFinalStatus
export type RunMode = CoreRunMode
export type Plan = z.infer<typeof planSchema>
export type Run = z.infer<typeof shownRun>
export type Task = z.infer<typeof shownTask>
export type Step = StepRow
export type Message = MessageRow
export type Artifact = z.infer<typeof shownArtifact>
export type LogEntry = z.infer<typeof shownLog>

export type CreateAnswer = CreateAnswerBody
export type VerbAnswer = VerbAnswerBody
export type BulkAction = BulkVerb
export type BulkAnswer = BulkAnswerBody
export type StatusAnswer = StatusAnswerBody
export type RunsPage = z.infer<typeof runsAnswer>
export type RunSummary = RunsPage['runs'][number]
export type LogsPage = z.infer<typeof logsAnswer>
export type StreamTicket = z.infer<typeof ticketAnswer>

/** Codes of the service, and of this client: no answer, no answer in time, an answer that is not the service's, no configuration. */
export type AgentErrorCode =
  | ErrorBody['code']
  | 'network_error'
  | 'timeout'
  | 'invalid_response'
  | 'not_configured'

type CreateBody = z.input<typeof createBody>
/** A Storage object that the user may read; the tools find it under `inputs/`. */
export type Attachment = { bucket: string; path: string } | { name: string; url: string }
export type CreateOptions = Pick<
  CreateBody,
  'project_id' | 'connector_ids' | 'task_type' | 'mode' | 'params' | 'memory_context' | 'tags' | 'auto_start'
> & { attachments?: readonly Attachment[] | undefined }
export type StatusOptions = Omit<z.input<typeof statusBody>, 'run_id' | 'task_id'>

/** What this client keeps for itself. */
type Hidden = 'heartbeat' | 'expired' | 'interrupted'
type Events = { [N in Exclude<EventName, Hidden>]: { type: N } & z.infer<(typeof namedEvents)[N]> }
/**
 * An event of a run's stream. Stored ones come once and in order, across any number of connections; `message_delta` and live
 * `terminal` text is extra and may have gaps: the `message` and the `step` that follow hold the whole.
 */
export type AgentEvent = Events[keyof Events]
