// The front of the package: what is not named here is not published.
export { AgentError } from './agent-error.ts'
export {
  type AgentClient,
  type AgentClientOptions,
  createAgentClient,
  type KeyedOptions,
  type ListOptions,
} from './create-agent-client.ts'
export { configureAgentClient, createAgentRun, getAgentStatus, streamAgentLogs } from './default-client.ts'
export { isFinal } from './is-final.ts'
export type { LogsOptions, PollOptions } from './poll-logs.ts'
export type { AgentStream, StreamOptions } from './stream-run.ts'
export type { GetToken, SupabaseSession } from './tokens.ts'
export type { CallOptions } from './transport.ts'
export type {
  AgentErrorCode,
  AgentEvent,
  Artifact,
  Attachment,
  BulkAction,
  BulkAnswer,
  CreateAnswer,
  CreateOptions,
  FinalStatus,
  LogEntry,
  LogsPage,
  Message,
  Plan,
  Run,
  RunMode,
  RunStatus,
  RunSummary,
  RunsPage,
  StatusAnswer,
  StatusOptions,
  Step,
  StreamTicket,
  Task,
  VerbAnswer,
} from './types.ts'
