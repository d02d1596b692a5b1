import type { Catalog, ForeignKey, Relation } from './catalog.ts'
import { RestError } from './errors.ts'

/** How the rows of an embed belong to a row of its parent: pairs of columns, or pairs by way of a junction table. */
export interface Relationship {
  target: Relation
  /** One row at most on the far side. */
  one: boolean
  /** `[parent column, target column]`; with a junction `[parent column, junction column]`. */
  pairs: [string, string][]
  junction: { relation: Relation; pairs: [junction: string, target: string][] } | null
  /** Names that a hint or the embed's own name may use for it. */
  names: string[]
  label: string
}

/** @throws RestError PGRST200 when there is none, PGRST201 (300) when a hint is needed. */
export function findRelationship(
  catalog: Catalog,
  parent: Relation,
  name: string,
  hint: string | null,
): Relationship {
  const all = [...direct(catalog, parent), ...manyToMany(catalog, parent)]
  let found = all.filter((candidate) => candidate.target.name === name)
  // `author_id(*)` and `posts_author_id_fkey(*)` name the foreign key itself.
  if (found.length === 0) found = all.filter((candidate) => candidate.names.includes(name))
  if (hint !== null) found = found.filter((candidate) => candidate.names.includes(hint))
  const [first, second] = found
  if (first === undefined) throw noRelationship(parent, name, hint)
  if (second !== undefined) throw ambiguous(parent, name, found)
  return first
}

function direct(catalog: Catalog, parent: Relation): Relationship[] {
  return catalog.foreignKeys.flatMap((key) => {
    const found: Relationship[] = []
    const to = catalog.byOid.get(key.to)
    const from = catalog.byOid.get(key.from)
    if (key.from === parent.oid && to !== undefined) {
      const names = [key.name, ...(key.fromColumns.length === 1 ? key.fromColumns : [])]
      found.push({
        target: to,
        one: true,
        pairs: pair(key.fromColumns, key.toColumns),
        junction: null,
        names,
        label: label(key),
      })
    }
    if (key.to === parent.oid && from !== undefined) {
      // From a table to itself both directions have the same names: a column hint then means "to the parent".
      const columns = key.from === key.to || key.fromColumns.length !== 1 ? [] : key.fromColumns
      const one = from.uniques.some((unique) => unique.every((column) => key.fromColumns.includes(column)))
      const names = [key.name, ...columns]
      found.push({
        target: from,
        one,
        pairs: pair(key.toColumns, key.fromColumns),
        junction: null,
        names,
        label: label(key),
      })
    }
    return found
  })
}

/** Two foreign keys of one table whose columns are all part of its primary key. */
function manyToMany(catalog: Catalog, parent: Relation): Relationship[] {
  return catalog.foreignKeys.flatMap((near) => {
    const relation = catalog.byOid.get(near.from)
    if (near.to !== parent.oid || relation === undefined) return []
    const inKey = (key: ForeignKey) => key.fromColumns.every((column) => relation.primaryKey.includes(column))
    return catalog.foreignKeys.flatMap((far) => {
      const target = catalog.byOid.get(far.to)
      if (far === near || far.from !== near.from || target === undefined || !inKey(near) || !inKey(far))
        return []
      const junction = { relation, pairs: pair(far.fromColumns, far.toColumns) }
      const pairs = pair(near.toColumns, near.fromColumns)
      return [{ target, one: false, pairs, junction, names: [relation.name], label: relation.name }]
    })
  })
}

function pair(left: string[], right: string[]): [string, string][] {
  return left.map((column, index) => [column, right[index] ?? ''])
}

function label(key: ForeignKey): string {
  return `${key.name}(${key.fromColumns.join(', ')})`
}

function noRelationship(parent: Relation, name: string, hint: string | null): RestError {
  const using = hint === null ? '' : ` using the hint '${hint}'`
  return new RestError(
    400,
    'PGRST200',
    `Could not find a relationship between '${parent.name}' and '${name}' in the schema cache`,
    `Searched for a foreign key relationship between '${parent.name}' and '${name}'${using} in the schema '${parent.schema}', but no matches were found.`,
  )
}

function ambiguous(parent: Relation, name: string, found: Relationship[]): RestError {
  const labels = found.map((candidate) => candidate.label)
  return new RestError(
    300,
    'PGRST201',
    `Could not embed because more than one relationship was found for '${parent.name}' and '${name}'`,
    `Candidates: ${labels.join('; ')}`,
    `Try changing '${name}' to one of the following: ${found.map((candidate) => `'${name}!${candidate.names[0]}'`).join(', ')}. Find the desired relationship in the 'details' key.`,
  )
}
