import type { Column, Relation } from './catalog.ts'
import { conditionSql, identifier, type Scope, type Values } from './conditions-sql.ts'
import { RestError } from './errors.ts'
import type { NodeQuery } from './query-types.ts'
import { tableSql } from './read-sql.ts'
import { Scanner } from './scanner.ts'

export interface Payload {
  /** The body as it came: Postgres reads it, so that no number loses digits on the way through JavaScript. */
  text: string
  isArray: boolean
  /** Columns to write. */
  keys: string[]
  rows: number
}

/** @throws RestError PGRST102 when the body is not a JSON object or an array of objects with the same keys. */
export function parsePayload(text: string, columns: string | null): Payload {
  let parsed: unknown
  try {
    parsed = JSON.parse(text === '' ? '{}' : text)
  } catch {
    throw new RestError(400, 'PGRST102', 'Empty or invalid json')
  }
  const rows: unknown[] = Array.isArray(parsed) ? parsed : [parsed]
  if (rows.some((row) => typeof row !== 'object' || row === null || Array.isArray(row))) {
    throw new RestError(400, 'PGRST102', 'Empty or invalid json')
  }
  const keys = columns === null ? sameKeys(rows as object[]) : parseColumns(columns)
  return { text: text === '' ? '{}' : text, isArray: Array.isArray(parsed), keys, rows: rows.length }
}

function sameKeys(rows: object[]): string[] {
  const keys = Object.keys(rows[0] ?? {})
  const wanted = new Set(keys)
  for (const row of rows) {
    const own = Object.keys(row)
    if (own.length !== wanted.size || own.some((key) => !wanted.has(key))) {
      throw new RestError(400, 'PGRST102', 'All object keys must match')
    }
  }
  return keys
}

export function parseColumns(text: string): string[] {
  const scanner = new Scanner(text)
  const names: string[] = []
  do {
    names.push(scanner.name())
  } while (scanner.take(','))
  if (!scanner.done) scanner.fail('expecting "," or end of input')
  return [...new Set(names)]
}

function columnOf(relation: Relation, name: string): Column {
  const column = relation.columns.find((candidate) => candidate.name === name)
  if (column !== undefined) return column
  throw new RestError(
    400,
    'PGRST204',
    `Could not find the '${name}' column of '${relation.name}' in the schema cache`,
  )
}

/** Rows of the body as a record set with the columns' own types. */
function bodySql(values: Values, payload: Payload, columns: Column[], useDefaults: boolean): string {
  const body = `${values.bind(payload.isArray ? payload.text : `[${payload.text}]`)}`
  const types = columns.map((column) => `${identifier(column.name)} ${column.type}`).join(', ')
  const defaults = columns.filter((column) => column.default !== null)
  if (!useDefaults || defaults.length === 0) return `json_to_recordset(${body}::json) as b (${types})`
  // `missing=default`: an element without a key gets the column's default, evaluated for that row.
  const pairs = defaults.map((column, index) => `${values.bind(column.name)}::text, d.d${index}`).join(', ')
  const evaluated = defaults.map((column, index) => `${column.default} as d${index}`).join(', ')
  return `(select b.* from jsonb_array_elements(${body}::jsonb) as e (item)
    cross join lateral (select ${evaluated}, e.item is null as keep) as d
    cross join lateral jsonb_to_record(jsonb_build_object(${pairs}) || e.item) as b (${types})) as b`
}

export interface InsertOptions {
  resolution: 'merge' | 'ignore' | null
  onConflict: string[] | null
  missingDefault: boolean
}

export function insertSql(
  values: Values,
  relation: Relation,
  payload: Payload,
  options: InsertOptions,
): string {
  const columns = payload.keys.map((key) => columnOf(relation, key))
  const names = columns.map((column) => identifier(column.name)).join(', ')
  const conflict = conflictSql(relation, columns, options)
  if (columns.length === 0) {
    if (payload.rows === 0) return `insert into ${tableSql(relation)} select from (select) as x where false`
    return `insert into ${tableSql(relation)} default values${conflict}`
  }
  const body = bodySql(values, payload, columns, options.missingDefault)
  return `insert into ${tableSql(relation)} (${names}) select ${prefixed('b', columns)} from ${body}${conflict}`
}

function conflictSql(relation: Relation, columns: Column[], options: InsertOptions): string {
  if (options.resolution === null) return ''
  const target = (options.onConflict ?? relation.primaryKey).map((name) =>
    identifier(columnOf(relation, name).name),
  )
  if (target.length === 0) return ''
  const where = ` on conflict (${target.join(', ')})`
  if (options.resolution === 'ignore' || columns.length === 0) return `${where} do nothing`
  const set = columns.map((column) => `${identifier(column.name)} = excluded.${identifier(column.name)}`)
  return `${where} do update set ${set.join(', ')}`
}

function prefixed(alias: string, columns: Column[]): string {
  return columns.map((column) => `${alias}.${identifier(column.name)}`).join(', ')
}

export function updateSql(
  values: Values,
  relation: Relation,
  payload: Payload,
  query: NodeQuery,
): string | null {
  const columns = payload.keys.map((key) => columnOf(relation, key))
  // Nothing to set is not an error: nothing changes.
  if (columns.length === 0) return null
  const where = whereSql(values, relation, query, 'UPDATE')
  const set = columns.map((column) => `${identifier(column.name)} = b.${identifier(column.name)}`).join(', ')
  const body = bodySql(values, payload, columns, false)
  return `update ${tableSql(relation)} as w set ${set} from (select * from ${body} limit 1) as b where ${where}`
}

export function deleteSql(values: Values, relation: Relation, query: NodeQuery): string {
  return `delete from ${tableSql(relation)} as w where ${whereSql(values, relation, query, 'DELETE')}`
}

/** Hosted projects load `safeupdate` for API roles: a change of all rows needs a filter. */
function whereSql(values: Values, relation: Relation, query: NodeQuery, command: string): string {
  if (query.where.length === 0) throw new RestError(400, '21000', `${command} requires a WHERE clause`)
  const scope: Scope = { relation, alias: 'w', values, used: new Set() }
  return query.where.map((condition) => conditionSql(scope, condition, () => null)).join(' and ')
}

/** Columns that a changed row must give back; none still counts the rows, and needs no right to read. */
export function returningSql(used: ReadonlySet<string>, alias: string): string {
  if (used.size === 0) return ' returning 1 as one'
  return ` returning ${[...used].map((name) => `${alias}${identifier(name)}`).join(', ')}`
}
