import * as z from 'zod'
import { AppError } from '../core/errors.ts'
import { clampLimit, isBlank, runIdOf } from './input.ts'
import { shownLog } from './present.ts'
import { isoTime } from './time.ts'

const DEFAULT_LIMIT = 100

export interface LogsRequest {
  run_id: string
  mode: 'polling' | 'stream'
  after: { seq: number | null; time: string | null }
  limit: number
}

type Query = Readonly<Record<string, string | undefined>>

/** Query of GET /agent/logs. @throws AppError run_id_required, run_not_found, invalid_request */
export function parseLogs(query: Query): LogsRequest {
  const run_id = runIdOf(
    isBlank(query.run_id) ? undefined : query.run_id,
    isBlank(query.task_id) ? undefined : query.task_id,
  )
  const mode = isBlank(query.mode) ? 'polling' : query.mode
  if (mode !== 'polling' && mode !== 'stream')
    throw new AppError('invalid_request', 'mode must be polling or stream')
  return { run_id, mode, after: parseSince(query.since), limit: clampLimit(query.limit, DEFAULT_LIMIT) }
}

function parseSince(since: string | undefined): LogsRequest['after'] {
  if (isBlank(since)) return { seq: null, time: null }
  if (/^\d{1,15}$/.test(since)) return { seq: Number(since), time: null }
  const time = isoTime(since)
  if (time === null) throw new AppError('invalid_request', 'since must be a next_cursor or an ISO time')
  return { seq: null, time }
}

/** Where a stream goes on: after `part` frames of row `seq + 1` are already known; `part` 0 is the row's start. */
export interface StreamPosition {
  seq: number
  part: number
}

/**
 * Position after an event id: `12` goes on with row 13, `12.1` with the second frame of row 12. Anything else is no id of ours: the
 * stream starts at its beginning, where nothing can be missed.
 */
export function positionAfter(id: string | undefined): StreamPosition {
  const match = /^(\d{1,15})(?:\.(\d{1,6}))?$/.exec(id?.trim() ?? '')
  if (match === null) return { seq: 0, part: 0 }
  const row = Number(match[1])
  if (match[2] === undefined) return { seq: row, part: 0 }
  return row === 0 ? { seq: 0, part: 0 } : { seq: row - 1, part: Number(match[2]) }
}

export const logsAnswer = z.object({
  success: z.literal(true),
  logs: z.array(shownLog),
  count: z.int(),
  has_more: z.boolean(),
  next_cursor: z.string().nullable(),
})

export const ticketBody = z.object({ run_id: z.string() })
export const ticketAnswer = z.object({
  success: z.literal(true),
  ticket: z.string(),
  /** Seconds within which the ticket must first be used. */
  expires_in: z.int(),
})
