import type { Catalog, Relation, Routine } from './catalog.ts'
import { identifier, type Values } from './conditions-sql.ts'
import { RestError } from './errors.ts'

/** Arguments of a call: the JSON text of a body, or the strings of a query. */
export type Arguments =
  | { kind: 'json'; text: string; names: string[] }
  | { kind: 'text'; values: Map<string, string> }

export function parseArguments(text: string): Arguments {
  let parsed: unknown
  try {
    parsed = JSON.parse(text === '' ? '{}' : text)
  } catch {
    throw new RestError(400, 'PGRST102', 'Empty or invalid json')
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw new RestError(400, 'PGRST102', 'The arguments must be a JSON object')
  }
  return { kind: 'json', text: text === '' ? '{}' : text, names: Object.keys(parsed) }
}

/** Chooses among overloads by the names of the arguments. @throws RestError PGRST202, PGRST203 */
export function findRoutine(
  catalog: Catalog,
  schema: string,
  name: string,
  given: readonly string[],
): Routine {
  const fitting = (catalog.routines.get(name) ?? []).filter((routine) => {
    const known = new Set(routine.args.map((arg) => arg.name))
    const required = routine.args.filter((arg) => arg.required)
    return given.every((key) => known.has(key)) && required.every((arg) => given.includes(arg.name))
  })
  const [first, second] = fitting
  if (first === undefined) throw notFound(catalog, schema, name, given)
  if (second === undefined) return first
  const signatures = fitting.map(
    (one) => `${schema}.${name}(${one.args.map((a) => `${a.name} => ${a.type}`).join(', ')})`,
  )
  throw new RestError(
    300,
    'PGRST203',
    `Could not choose the best candidate function between: ${signatures.join(', ')}`,
    null,
    'Try renaming the parameters or the function itself in the database so function overloading can be resolved',
  )
}

function notFound(catalog: Catalog, schema: string, name: string, given: readonly string[]): RestError {
  const list = given.join(', ')
  const withArgs = given.length === 0 ? ' without parameters' : `(${list})`
  const candidates = catalog.routines.get(name) ?? []
  const other = candidates[0]
  const hint =
    other === undefined
      ? null
      : `Perhaps you meant to call the function ${schema}.${name}(${other.args.map((arg) => arg.name).join(', ')})`
  return new RestError(
    404,
    'PGRST202',
    `Could not find the function ${schema}.${name}${withArgs} in the schema cache`,
    `Searched for the function ${schema}.${name} with ${given.length === 0 ? 'no parameters' : `parameters ${list}`}, but no matches were found in the schema cache.`,
    hint,
  )
}

/** `with called as (…)` for a routine: its rows, or one column `v` when it answers scalars. */
export function callSql(values: Values, routine: Routine, given: Arguments): string {
  const name = `${identifier(routine.schema)}.${identifier(routine.name)}`
  const { from, list } = argumentsSql(values, routine, given)
  if (routine.columns === null) {
    return `select r.v from ${from}lateral ${name}(${list}) as r (v)`
  }
  return `select r.* from ${from}lateral ${name}(${list}) as r`
}

function argumentsSql(values: Values, routine: Routine, given: Arguments): { from: string; list: string } {
  const names = given.kind === 'json' ? given.names : [...given.values.keys()]
  const args = routine.args.filter((arg) => names.includes(arg.name))
  if (given.kind === 'text') {
    const list = args.map(
      (arg) => `${identifier(arg.name)} => ${values.bind(given.values.get(arg.name))}::${arg.type}`,
    )
    return { from: '', list: list.join(', ') }
  }
  if (args.length === 0) return { from: '', list: '' }
  const types = args.map((arg) => `${identifier(arg.name)} ${arg.type}`).join(', ')
  const list = args.map((arg) => `${identifier(arg.name)} => a.${identifier(arg.name)}`).join(', ')
  return { from: `json_to_record(${values.bind(given.text)}::json) as a (${types}), `, list }
}

/** What `select` and filters of a call refer to: the relation whose rows it answers, or a nameless one. */
export function resultRelation(catalog: Catalog, routine: Routine): Relation {
  const known = routine.relation === null ? undefined : catalog.byOid.get(routine.relation)
  if (known !== undefined) return known
  const columns = routine.columns ?? []
  return { oid: 0, schema: routine.schema, name: routine.name, columns, primaryKey: [], uniques: [] }
}
