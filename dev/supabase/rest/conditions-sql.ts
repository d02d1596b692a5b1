import pg from 'pg'
import type { Relation } from './catalog.ts'
import { RestError } from './errors.ts'
import { parseList } from './parse-filters.ts'
import type { Comparison, Condition, Field, OrderTerm } from './query-types.ts'

/** Values of one statement: everything that a client wrote travels as a parameter. */
export class Values {
  readonly list: unknown[] = []

  bind(value: unknown): string {
    this.list.push(value)
    return `$${this.list.length}`
  }
}

/** The relation that names refer to, under the alias it has in the statement. */
export interface Scope {
  relation: Relation
  alias: string
  values: Values
  /** Columns that were named: a changed row must return these. */
  used: Set<string>
}

export const identifier = pg.escapeIdentifier

const BINARY: Record<string, string> = {
  eq: '=',
  neq: '<>',
  gt: '>',
  gte: '>=',
  lt: '<',
  lte: '<=',
  like: 'like',
  ilike: 'ilike',
  match: '~',
  imatch: '~*',
  isdistinct: 'is distinct from',
  cs: '@>',
  cd: '<@',
  ov: '&&',
  sl: '<<',
  sr: '>>',
  nxr: '&<',
  nxl: '&>',
  adj: '-|-',
}
const TEXT_SEARCH: Record<string, string> = {
  fts: 'to_tsquery',
  plfts: 'plainto_tsquery',
  phfts: 'phraseto_tsquery',
  wfts: 'websearch_to_tsquery',
}
const IS: Record<string, string> = {
  null: 'is null',
  not_null: 'is not null',
  true: 'is true',
  false: 'is false',
  unknown: 'is unknown',
}

/** @throws RestError 42703 as Postgres would: only names of the catalogue reach the statement. */
export function fieldSql(scope: Scope, field: Field): string {
  const column = scope.relation.columns.find((candidate) => candidate.name === field.column)
  if (column === undefined) {
    throw new RestError(400, '42703', `column ${scope.relation.name}.${field.column} does not exist`)
  }
  scope.used.add(column.name)
  const plain = `${scope.alias}.${identifier(column.name)}`
  if (field.path.length === 0) return plain
  // Arrays and composites are walked like JSON.
  const start = column.type === 'json' || column.type === 'jsonb' ? plain : `to_jsonb(${plain})`
  const steps = field.path.map(({ arrow, key }) => {
    const isIndex = /^-?\d{1,9}$/.test(key)
    return `${arrow}${scope.values.bind(isIndex ? Number(key) : key)}${isIndex ? '::int' : '::text'}`
  })
  return `(${start}${steps.join('')})`
}

/** `embedNull` answers `embed=is.null` for the names of embeds. */
export function conditionSql(
  scope: Scope,
  condition: Condition,
  embedNull: (name: string) => string | null,
): string {
  if (condition.kind === 'compare') return comparisonSql(scope, condition, embedNull)
  const items = condition.items.map((item) => conditionSql(scope, item, embedNull))
  return `${condition.not ? 'not ' : ''}(${items.join(` ${condition.join} `)})`
}

function comparisonSql(
  scope: Scope,
  comparison: Comparison,
  embedNull: (name: string) => string | null,
): string {
  const embed =
    comparison.operator === 'is' && comparison.path.length === 0 ? embedNull(comparison.column) : null
  const left = embed ?? fieldSql(scope, comparison)
  return `${comparison.not ? 'not ' : ''}(${left} ${rightSql(scope, comparison)})`
}

function rightSql(scope: Scope, comparison: Comparison): string {
  const { operator, value, quantifier, language } = comparison
  if (operator === 'is') {
    const test = Object.hasOwn(IS, value.toLowerCase()) ? IS[value.toLowerCase()] : undefined
    if (test !== undefined) return test
    throw new RestError(
      400,
      'PGRST100',
      `"failed to parse filter (is.${value.slice(0, 40)})"`,
      'unexpected value of is',
    )
  }
  if (operator === 'in') return `= any(${scope.values.bind(parseList(value))})`
  const search = TEXT_SEARCH[operator]
  if (search !== undefined) {
    const dictionary = language === null ? '' : `${scope.values.bind(language)}::regconfig, `
    return `@@ ${search}(${dictionary}${scope.values.bind(value)})`
  }
  const right = operator === 'like' || operator === 'ilike' ? value.replaceAll('*', '%') : value
  const bound = scope.values.bind(right)
  return `${BINARY[operator]} ${quantifier === null ? bound : `${quantifier}(${bound})`}`
}

export function orderSql(scope: Scope, terms: OrderTerm[]): string {
  if (terms.length === 0) return ''
  const parts = terms.map((term) => {
    const nulls = term.nulls === null ? '' : ` nulls ${term.nulls}`
    return `${fieldSql(scope, term)} ${term.descending ? 'desc' : 'asc'}${nulls}`
  })
  return ` order by ${parts.join(', ')}`
}
