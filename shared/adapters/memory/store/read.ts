import type { EventPage, ListRuns, LogPage, ReadLogs, ReadRun, RunSnapshot } from '../../../ports/store.ts'
import { openApprovals } from './approvals.ts'
import { isoTime, microseconds } from './iso-time.ts'
import { artifactRow, logRow, messageRow, runRow, stepRow } from './rows.ts'
import type { RunTables, Tables } from './tables.ts'

/** The newest `limit` of a list that is oldest first, and whether there are more. */
function newest<T>(rows: readonly T[], limit: number): { rows: T[]; more: boolean } {
  return { rows: limit === 0 ? [] : rows.slice(-limit), more: rows.length > limit }
}

/** agent_read_run */
export function snapshot(tables: RunTables, input: ReadRun): RunSnapshot {
  const before = input.steps?.before ?? Number.POSITIVE_INFINITY
  const steps = input.steps
    ? newest(
        tables.steps.filter(({ step_number }) => step_number < before),
        input.steps.limit,
      )
    : { rows: [], more: false }
  const messages = input.messages ? newest(tables.messages, input.messages.limit) : { rows: [], more: false }
  const artifacts = input.artifacts
    ? newest(
        tables.artifacts.toSorted((a, b) => a.created_at - b.created_at || (a.id < b.id ? -1 : 1)),
        input.artifacts.limit,
      )
    : { rows: [], more: false }
  const logs = input.logs ? newest(tables.logs, input.logs.limit) : { rows: [], more: false }
  return {
    run: runRow(tables.run),
    steps: steps.rows.map((step) => stepRow(tables, step)),
    has_more_steps: steps.more,
    messages: messages.rows.map((message) => messageRow(tables, message)),
    has_more_messages: messages.more,
    artifacts: artifacts.rows.map((artifact) => artifactRow(tables, artifact)),
    has_more_artifacts: artifacts.more,
    logs: logs.rows.map((line) => logRow(tables, line)),
    has_more_logs: logs.more,
    approvals: ['waiting_user', 'paused'].includes(tables.run.status) ? openApprovals(tables) : [],
  }
}

/** agent_read_logs */
export function logPage(tables: RunTables, { after_seq, after_time, limit }: ReadLogs): LogPage {
  const { run, logs } = tables
  const time = after_time === null ? Number.NEGATIVE_INFINITY : microseconds(after_time)
  const rows = logs.filter(({ seq, created_at }) => seq > (after_seq ?? 0) && created_at > time)
  return {
    logs: rows.slice(0, limit).map((line) => logRow(tables, line)),
    has_more: rows.length > limit,
    status: run.status,
  }
}

/** agent_read_events */
export function eventPage(
  tables: RunTables,
  { after_seq, limit }: { after_seq: number; limit: number },
): EventPage {
  const { logs, steps, messages, artifacts } = tables
  // dense from 1, so that a number is a place
  const rows = logs.slice(after_seq, after_seq + limit + 1)
  return {
    run: runRow(tables.run),
    has_more: rows.length > limit,
    events: rows.slice(0, limit).map((line) => {
      const { step_id, message_id, artifact_id } = line.metadata
      const step = steps.find((each) => each.step_id === step_id)
      const message = messages.find(({ id }) => id === message_id)
      const artifact = artifacts.find(({ id }) => id === artifact_id)
      return {
        log: logRow(tables, line),
        step: step === undefined ? null : stepRow(tables, step),
        message: message === undefined ? null : messageRow(tables, message),
        artifact: artifact === undefined ? null : artifactRow(tables, artifact),
      }
    }),
  }
}

/** agent_list_runs */
export function listRuns(
  { runs }: Tables,
  userId: string,
  { limit, before, status }: ListRuns,
): { runs: ReturnType<typeof runRow>[]; has_more: boolean } {
  const key = ({ created_at, id }: { created_at: string; id: string }) =>
    `${String(microseconds(created_at)).padStart(20, '0')} ${id}`
  const rows = [...runs.values()]
    .filter(({ run }) => run.user_id === userId && (status === null || run.status === status))
    .map(({ run }) => ({ run, key: key({ created_at: isoTime(run.created_at), id: run.id }) }))
    .filter((row) => before === null || row.key < key(before))
    .sort((a, b) => (a.key < b.key ? 1 : -1))
  return { runs: rows.slice(0, limit).map(({ run }) => runRow(run)), has_more: rows.length > limit }
}
