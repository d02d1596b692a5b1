import { type Arguments, callSql, resultRelation } from './call-sql.ts'
import type { Catalog, Relation, Routine } from './catalog.ts'
import { identifier, Values } from './conditions-sql.ts'
import type { Preferences } from './preferences.ts'
import type { NodeQuery } from './query-types.ts'
import { type ReadContext, readSql, tableSql } from './read-sql.ts'
import { deleteSql, insertSql, type Payload, returningSql, updateSql } from './write-sql.ts'

/** One statement whose single row is `{body, rows, total, headers, status}`; `body` is JSON text made by Postgres. */
export interface Statement {
  text: string
  values: unknown[]
}

// A function may set the answer's headers and status (`set_config('response.headers', …)`).
const GUCS = `current_setting('response.headers', true) as headers, current_setting('response.status', true) as status`

function context(catalog: Catalog, values: Values, maxRows: number): ReadContext {
  return { catalog, values, maxRows, next: 0 }
}

function answer(
  withs: string[],
  parts: { body: string; rows: string; total?: string },
  values: Values,
): Statement {
  const total = parts.total === undefined ? 'null' : parts.total
  const clause = withs.length === 0 ? '' : `with ${withs.join(', ')} `
  const text = `${clause}select ${parts.body} as body, ${parts.rows} as rows, ${total} as total, ${GUCS}`
  return { text, values: values.list }
}

const PAGE_BODY = `coalesce((select json_agg(pgrst_page) from pgrst_page), '[]')::text`
const PAGE_ROWS = '(select count(*)::int from pgrst_page)'

export function readStatement(
  catalog: Catalog,
  relation: Relation,
  query: NodeQuery,
  options: { count: boolean; maxRows: number },
): Statement {
  const values = new Values()
  const sql = readSql(context(catalog, values, options.maxRows), relation, tableSql(relation), query, {
    filter: true,
    maxRows: options.maxRows,
  })
  // Inside a CTE: parameters are numbered once, so the count may use them again.
  const total = options.count ? { total: `(${sql.count})::int` } : {}
  return answer([`pgrst_page as (${sql.page})`], { body: PAGE_BODY, rows: PAGE_ROWS, ...total }, values)
}

export interface Change {
  kind: 'insert' | 'update' | 'delete'
  payload: Payload | null
  onConflict: string[] | null
  preferences: Preferences
}

export function changeStatement(
  catalog: Catalog,
  relation: Relation,
  query: NodeQuery,
  change: Change,
  maxRows: number,
): Statement {
  const values = new Values()
  const representation = change.preferences.representation === 'full'
  const sql = changeSql(values, relation, query, change)
  if (sql === null) return { text: `select '[]' as body, 0 as rows, 0 as total, ${GUCS}`, values: [] }
  if (!representation) {
    const rows = '(select count(*)::int from pgrst_changed)'
    const withs = [`pgrst_changed as (${sql}${returningSql(new Set(), '')})`]
    return answer(withs, { body: 'null', rows, total: rows }, values)
  }
  const page = readSql(context(catalog, values, maxRows), relation, 'pgrst_changed', query, {
    filter: false,
    maxRows: null,
  })
  const alias = change.kind === 'insert' ? `${identifier(relation.name)}.` : 'w.'
  const withs = [`pgrst_changed as (${sql}${returningSql(page.used, alias)})`, `pgrst_page as (${page.page})`]
  const total = '(select count(*)::int from pgrst_changed)'
  return answer(withs, { body: PAGE_BODY, rows: PAGE_ROWS, total }, values)
}

function changeSql(values: Values, relation: Relation, query: NodeQuery, change: Change): string | null {
  const { kind, payload, onConflict, preferences } = change
  if (kind === 'delete' || payload === null) return deleteSql(values, relation, query)
  if (kind === 'update') return updateSql(values, relation, payload, query)
  const { resolution, missingDefault } = preferences
  return insertSql(values, relation, payload, { resolution, onConflict, missingDefault })
}

export function callStatement(
  catalog: Catalog,
  routine: Routine,
  given: Arguments,
  query: NodeQuery,
  options: { count: boolean; maxRows: number },
): Statement {
  const values = new Values()
  const called = `pgrst_called as materialized (${callSql(values, routine, given)})`
  const rows = '(select count(*)::int from pgrst_called)'
  if (routine.columns === null) {
    const one = routine.set
      ? `coalesce((select json_agg(v) from pgrst_called), '[]')::text`
      : `coalesce((select to_json(v) from pgrst_called), 'null')::text`
    // A void function must run although nobody reads its value.
    const body = routine.void ? '(select null from (select count(v) from pgrst_called) as x)' : one
    return answer([called], { body, rows }, values)
  }
  const relation = resultRelation(catalog, routine)
  const page = readSql(context(catalog, values, options.maxRows), relation, 'pgrst_called', query, {
    filter: true,
    maxRows: options.maxRows,
  })
  const withs = [called, `pgrst_page as (${page.page})`]
  if (!routine.set) {
    return answer(
      withs,
      { body: '(select row_to_json(pgrst_page)::text from pgrst_page)', rows: PAGE_ROWS },
      values,
    )
  }
  const total = options.count ? { total: `(${page.count})::int` } : {}
  return answer(withs, { body: PAGE_BODY, rows: PAGE_ROWS, ...total }, values)
}
