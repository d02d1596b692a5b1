import type pg from 'pg'
import type { CallerClaims, RequestFacts } from '../caller.ts'
import { transact } from '../transact.ts'
import { type Arguments, findRoutine, parseArguments } from './call-sql.ts'
import type { Catalog, CatalogReader, Relation } from './catalog.ts'
import { RestError } from './errors.ts'
import { parseQuery } from './parse-query.ts'
import { type Preferences, parsePreferences } from './preferences.ts'
import { type AnswerRow, type RestAnswer, rangeOf, respond } from './respond.ts'
import { callStatement, changeStatement, readStatement, type Statement } from './statements.ts'
import { parseColumns, parsePayload } from './write-sql.ts'

export interface RestRequest {
  method: string
  params: URLSearchParams
  headers: Headers
  body: string
  caller: CallerClaims
  facts: RequestFacts
}

export interface RestFace {
  pool: pg.Pool
  catalog: CatalogReader
  schema: string
  maxRows: number
}

const SEARCH_PATH = '"public", "extensions"'
// A name that was not found may be new: the catalogue is read again before the error goes out.
const MISSES = new Set(['PGRST200', 'PGRST202', 'PGRST203', 'PGRST204', 'PGRST205', '42703'])

export async function handleTable(face: RestFace, name: string, request: RestRequest): Promise<RestAnswer> {
  const preferences = parsePreferences(request.headers.get('prefer') ?? undefined)
  const query = parseQuery(request.params)
  const reading = request.method === 'GET' || request.method === 'HEAD'
  if (reading) applyRange(request, query)
  const build = (catalog: Catalog): Statement => {
    const relation = findRelation(catalog, face.schema, name)
    if (reading)
      return readStatement(catalog, relation, query, { count: preferences.count, maxRows: face.maxRows })
    return changeStatement(catalog, relation, query, change(request, preferences), face.maxRows)
  }
  const statement = await withCatalog(face.catalog, build)
  return await run(face, request, statement, preferences, {
    readOnly: reading,
    empty: false,
    kind: reading ? 'read' : request.method === 'POST' ? 'insert' : 'change',
    offset: query.offset,
  })
}

function change(request: RestRequest, preferences: Preferences) {
  const onConflict = request.params.get('on_conflict')
  const payload =
    request.method === 'DELETE' ? null : parsePayload(request.body, request.params.get('columns'))
  return {
    kind:
      request.method === 'POST'
        ? ('insert' as const)
        : payload === null
          ? ('delete' as const)
          : ('update' as const),
    payload,
    onConflict: onConflict === null ? null : parseColumns(onConflict),
    preferences,
  }
}

function findRelation(catalog: Catalog, schema: string, name: string): Relation {
  const relation = catalog.relations.get(name)
  if (relation !== undefined) return relation
  throw new RestError(404, 'PGRST205', `Could not find the table '${schema}.${name}' in the schema cache`)
}

export async function handleCall(face: RestFace, name: string, request: RestRequest): Promise<RestAnswer> {
  const preferences = parsePreferences(request.headers.get('prefer') ?? undefined)
  const posted = request.method === 'POST' ? parseArguments(request.body) : null
  let shape = { readOnly: posted === null, empty: false }
  const statement = await withCatalog(face.catalog, (catalog) => {
    const given = posted ?? queryArguments(catalog, name, request.params)
    const names = given.kind === 'json' ? given.names : [...given.values.keys()]
    const routine = findRoutine(catalog, face.schema, name, names)
    const query = parseQuery(request.params, given.kind === 'text' ? new Set(names) : new Set())
    if (posted === null) applyRange(request, query)
    shape = { readOnly: posted === null || !routine.volatile, empty: routine.void }
    return callStatement(catalog, routine, given, query, { count: preferences.count, maxRows: face.maxRows })
  })
  return await run(face, request, statement, preferences, { ...shape, kind: 'read', offset: 0 })
}

/** Of the keys of a GET, those are arguments that some overload has. */
function queryArguments(catalog: Catalog, name: string, params: URLSearchParams): Arguments {
  const known = new Set(
    (catalog.routines.get(name) ?? []).flatMap((routine) => routine.args.map((arg) => arg.name)),
  )
  const values = new Map([...params].filter(([key]) => known.has(key)))
  return { kind: 'text', values }
}

function applyRange(request: RestRequest, query: { limit: number | null; offset: number }): void {
  const range = rangeOf(request.headers.get('range'))
  if (range === null) return
  query.offset += range.offset
  query.limit = query.limit === null ? range.limit : Math.min(query.limit, range.limit ?? query.limit)
}

async function withCatalog<T>(reader: CatalogReader, build: (catalog: Catalog) => T): Promise<T> {
  const catalog = await reader.get()
  try {
    return build(catalog)
  } catch (error) {
    if (!(error instanceof RestError) || !MISSES.has(error.code)) throw error
    return build(await reader.refresh())
  }
}

async function run(
  face: RestFace,
  request: RestRequest,
  statement: Statement,
  preferences: Preferences,
  shape: { readOnly: boolean; empty: boolean; kind: 'read' | 'insert' | 'change'; offset: number },
): Promise<RestAnswer> {
  const { roleSettings } = await face.catalog.get()
  const options = {
    caller: request.caller,
    request: request.facts,
    searchPath: SEARCH_PATH,
    settings: roleSettings.get(request.caller.role) ?? [],
    readOnly: shape.readOnly,
    rollback: preferences.rollback,
  }
  return await transact(face.pool, options, async (query) => {
    const { rows } = await query<AnswerRow>(statement.text, statement.values)
    const [row] = rows
    if (row === undefined) throw new Error('A statement of the REST face answered no row')
    // Thrown inside the transaction: an unfit answer undoes what was changed.
    return respond(row, { ...shape, preferences, accept: request.headers.get('accept') ?? '*/*' })
  })
}
