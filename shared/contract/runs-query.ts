import { AppError } from '../core/errors.ts'
import { RUN_STATUSES, type RunStatus } from '../core/run.ts'
import { isUuid } from '../core/uuid.ts'
import { clampLimit, isBlank } from './input.ts'
import { isoTime } from './time.ts'

const DEFAULT_LIMIT = 50
/** Below every uuid: with a bare time as the cursor, rows of that very moment count as seen. */
const LOWEST_UUID = '00000000-0000-0000-0000-000000000000'

export interface RunsQuery {
  limit: number
  before: { created_at: string; id: string } | null
  status: RunStatus | null
}

/** Query of GET /agent/runs: `before` is a next_cursor or an ISO time. @throws AppError invalid_request */
export function parseRunsQuery(query: Readonly<Record<string, string | undefined>>): RunsQuery {
  const status = isBlank(query.status) ? null : RUN_STATUSES.find((name) => name === query.status)
  if (status === undefined) {
    throw new AppError('invalid_request', `status must be one of ${RUN_STATUSES.join(', ')}`)
  }
  return {
    limit: clampLimit(query.limit, DEFAULT_LIMIT),
    before: isBlank(query.before) ? null : parseCursor(query.before),
    status,
  }
}

export function runsCursor(row: { created_at: string; id: string }): string {
  return Buffer.from(`${row.created_at}|${row.id}`).toString('base64url')
}

function parseCursor(text: string): { created_at: string; id: string } {
  const bare = isoTime(text)
  if (bare !== null) return { created_at: bare, id: LOWEST_UUID }
  const [time = '', id = ''] =
    text.length > 200 ? [] : Buffer.from(text, 'base64url').toString('utf8').split('|')
  const created_at = isoTime(time)
  if (created_at === null || !isUuid(id))
    throw new AppError('invalid_request', 'before must be a next_cursor or an ISO time')
  return { created_at, id }
}
