import { RestError } from './errors.ts'
import type { Preferences } from './preferences.ts'

export interface AnswerRow {
  body: string | null
  rows: number
  total: number | null
  headers: string | null
  status: string | null
}

export interface RestAnswer {
  status: number
  headers: Headers
  body: string | null
}

export interface Shape {
  kind: 'read' | 'insert' | 'change'
  /** A void function: no content. */
  empty: boolean
  offset: number
  preferences: Preferences
  accept: string
}

const OBJECT = 'application/vnd.pgrst.object+json'

/** `Range: 0-9` or `10-` as rows. */
export function rangeOf(header: string | null): { offset: number; limit: number | null } | null {
  const match = /^(?:items=)?(\d{1,15})-(\d{0,15})$/.exec(header ?? '')
  if (match === null) return null
  const first = Number(match[1])
  if (match[2] === '') return { offset: first, limit: null }
  const last = Number(match[2])
  if (last < first)
    throw new RestError(
      416,
      'PGRST103',
      'Requested range not satisfiable',
      'The lower boundary must be lower than or equal to the upper boundary in the Range header.',
    )
  return { offset: first, limit: last - first + 1 }
}

/** @throws RestError PGRST103, PGRST107, PGRST116, PGRST124: the transaction is then rolled back. */
export function respond(row: AnswerRow, shape: Shape): RestAnswer {
  const { preferences } = shape
  if (preferences.maxAffected !== null && shape.kind === 'change' && row.rows > preferences.maxAffected) {
    throw new RestError(
      400,
      'PGRST124',
      'Query result exceeds max-affected preference constraint',
      `The query affects ${row.rows} rows`,
    )
  }
  const headers = new Headers()
  for (const [name, value] of customHeaders(row.headers)) headers.append(name, value)
  if (preferences.applied.length > 0) headers.set('preference-applied', preferences.applied.join(', '))
  if (shape.empty) return { status: customStatus(row.status) ?? 204, headers, body: null }
  headers.set('content-range', contentRange(row, shape))
  if (shape.kind !== 'read' && preferences.representation === 'minimal') {
    return { status: customStatus(row.status) ?? (shape.kind === 'insert' ? 201 : 204), headers, body: null }
  }
  const body = accepted(row, shape.accept, headers)
  const status = shape.kind === 'insert' ? 201 : readStatus(row, shape)
  return { status: customStatus(row.status) ?? status, headers, body }
}

function contentRange(row: AnswerRow, shape: Shape): string {
  const total = shape.preferences.count && row.total !== null ? String(row.total) : '*'
  if (shape.kind !== 'read' || row.rows === 0) return `*/${total}`
  return `${shape.offset}-${shape.offset + row.rows - 1}/${total}`
}

function readStatus(row: AnswerRow, shape: Shape): number {
  if (shape.kind !== 'read' || row.total === null) return 200
  if (shape.offset > 0 && shape.offset >= row.total) {
    throw new RestError(
      416,
      'PGRST103',
      'Requested range not satisfiable',
      `An offset of ${shape.offset} was requested, but there are only ${row.total} rows.`,
    )
  }
  return row.rows < row.total ? 206 : 200
}

function accepted(row: AnswerRow, accept: string, headers: Headers): string {
  const body = row.body ?? 'null'
  const types = accept.split(',').map((type) => type.split(';')[0]?.trim().toLowerCase() ?? '')
  if (types.includes(OBJECT)) {
    headers.set('content-type', `${OBJECT}; charset=utf-8`)
    // Functions that answer one thing are single already.
    if (!body.startsWith('[')) return body
    if (row.rows === 1) return body.replace(/^\[/, '').replace(/\]$/, '')
    throw new RestError(
      406,
      'PGRST116',
      'Cannot coerce the result to a single JSON object',
      `The result contains ${row.rows} rows`,
    )
  }
  const json = [
    'application/json',
    '*/*',
    'application/*',
    'application/vnd.pgrst.array+json',
    'application/vnd.pgrst.array',
  ]
  if (!types.some((type) => json.includes(type))) {
    throw new RestError(406, 'PGRST107', `None of these media types are available: ${accept.slice(0, 200)}`)
  }
  headers.set('content-type', 'application/json; charset=utf-8')
  return body
}

function customHeaders(text: string | null): [string, string][] {
  if (text === null || text === '') return []
  try {
    const list = JSON.parse(text) as Record<string, string>[]
    return list.flatMap((one) => Object.entries(one))
  } catch {
    throw new RestError(
      500,
      'PGRST111',
      'response.headers guc must be a JSON array composed of objects with a single key and a string value',
    )
  }
}

function customStatus(text: string | null): number | null {
  if (text === null || text === '') return null
  const status = Number(text)
  if (Number.isInteger(status) && status >= 200 && status <= 599) return status
  throw new RestError(500, 'PGRST112', 'response.status guc must be a valid status code')
}
