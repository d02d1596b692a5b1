import type { Catalog, Relation } from './catalog.ts'
import { conditionSql, fieldSql, identifier, orderSql, type Scope, type Values } from './conditions-sql.ts'
import { RestError } from './errors.ts'
import type { NodeQuery, SelectEmbed, SelectField, SelectItem } from './query-types.ts'
import { findRelationship, type Relationship } from './relationships.ts'

export interface ReadContext {
  catalog: Catalog
  values: Values
  /** No read answers more rows than this, at any level (`db-max-rows`, 1,000 on hosted projects). */
  maxRows: number
  /** Next number of an alias. */
  next: number
}

export interface ReadSql {
  /** The page: `select … limit … offset …`. */
  page: string
  /** Counts all rows that the filters leave. */
  count: string
  /** Columns of the root relation that it reads. */
  used: Set<string>
}

interface Embed {
  alias: string
  /** One row at most. */
  one: boolean
}

const CASTS = new Set(
  `text varchar int int2 int4 int8 integer smallint bigint numeric real float4 float8 bool boolean date time timetz
   timestamp timestamptz uuid json jsonb interval bytea`.split(/\s+/),
)

/** SQL that reads `relation` as the query says; `source` is what stands after FROM (a table, or rows just changed). */
export function readSql(
  context: ReadContext,
  relation: Relation,
  source: string,
  asked: NodeQuery,
  options: { filter: boolean; maxRows: number | null; on?: (alias: string) => string } = {
    filter: true,
    maxRows: null,
  },
): ReadSql {
  const query = { ...asked, items: asked.items.map((item) => asCount(relation, item)) }
  const alias = `t${context.next++}`
  const scope: Scope = { relation, alias, values: context.values, used: new Set() }
  const joins: string[] = []
  const where: string[] = options.on === undefined ? [] : [options.on(alias)]
  const embeds = new Map<SelectItem, Embed>()
  for (const item of query.items) {
    if (item.kind === 'embed') embeds.set(item, embedJoin(context, scope, item, joins, where))
  }
  const columns = query.items.flatMap((item) => columnSql(scope, item, embeds))
  if (columns.length === 0) columns.push('null')
  const embedNull = (name: string) => {
    const item = query.items.find((one) => one.kind === 'embed' && (one.alias ?? one.target) === name)
    const joined = item === undefined ? undefined : embeds.get(item)
    return joined === undefined ? null : `${joined.alias}.j`
  }
  if (options.filter) where.push(...query.where.map((condition) => conditionSql(scope, condition, embedNull)))
  const from = ` from ${source} as ${alias}${joins.join('')}${where.length > 0 ? ` where ${where.join(' and ')}` : ''}`
  const counting = query.items.some((item) => item.kind === 'count')
  const tail = counting
    ? ''
    : `${orderSql(scope, query.order)}${limitSql(context.values, query, options.maxRows)}`
  return {
    page: `select ${columns.join(', ')}${from}${tail}`,
    count: `select count(*)${from}`,
    used: scope.used,
  }
}

/** `pages(count)`: the older way to write `count()`, unless there is a column of that name. */
function asCount(relation: Relation, item: SelectItem): SelectItem {
  if (item.kind !== 'field' || item.column !== 'count' || item.path.length > 0) return item
  const exists = relation.columns.some((column) => column.name === 'count')
  return exists ? item : { kind: 'count', alias: item.alias }
}

function limitSql(values: Values, query: NodeQuery, maxRows: number | null): string {
  const limit = Math.min(query.limit ?? Number.MAX_SAFE_INTEGER, maxRows ?? Number.MAX_SAFE_INTEGER)
  const parts = []
  if (limit !== Number.MAX_SAFE_INTEGER) parts.push(` limit ${values.bind(limit)}`)
  if (query.offset > 0) parts.push(` offset ${values.bind(query.offset)}`)
  return parts.join('')
}

function columnSql(scope: Scope, item: SelectItem, embeds: Map<SelectItem, Embed>): string[] {
  if (item.kind === 'star') {
    for (const column of scope.relation.columns) scope.used.add(column.name)
    return [`${scope.alias}.*`]
  }
  if (item.kind === 'count') return [`count(*) as ${identifier(item.alias ?? 'count')}`]
  if (item.kind === 'field') return [selectField(scope, item)]
  if (item.query.items.length === 0) return []
  const embed = embeds.get(item)
  if (embed === undefined) return []
  // No rows are null here, so that filters can see it (`embed=is.null`), and `[]` in the answer.
  const value = embed.one ? `${embed.alias}.j` : `coalesce(${embed.alias}.j, '[]')`
  return [`${value} as ${identifier(item.alias ?? item.target)}`]
}

function selectField(scope: Scope, item: SelectField): string {
  // A cast goes into the statement as it stands: only known names of types may.
  if (item.cast !== null && !CASTS.has(item.cast.replace(/\[\]$/, ''))) {
    throw new RestError(400, '42704', `type "${item.cast}" does not exist`)
  }
  const value = fieldSql(scope, item)
  const name = item.alias ?? item.path.findLast((step) => !/^-?\d+$/.test(step.key))?.key ?? item.column
  return `${value}${item.cast === null ? '' : `::${item.cast}`} as ${identifier(name)}`
}

/** Adds the lateral join of an embed and returns its alias; its rows are in column `j` as JSON, null when there are none. */
function embedJoin(
  context: ReadContext,
  parent: Scope,
  item: SelectEmbed,
  joins: string[],
  where: string[],
): Embed {
  const relationship = findRelationship(context.catalog, parent.relation, item.target, item.hint)
  const alias = `e${context.next++}`
  const { target } = relationship
  // An embed without columns is there for its filters only, but something must be selected.
  const query =
    item.query.items.length === 0 ? { ...item.query, items: [{ kind: 'star' } as const] } : item.query
  const inner = readSql(context, target, tableSql(target), query, {
    filter: true,
    maxRows: relationship.one ? 1 : context.maxRows,
    on: (child) => joinSql(context, parent, child, relationship),
  })
  const row = `r${context.next++}`
  const json = relationship.one
    ? `select row_to_json(${row}) as j from (${inner.page}) as ${row}`
    : `select json_agg(${row}) as j from (${inner.page}) as ${row}`
  joins.push(` left join lateral (${json}) as ${alias} on true`)
  if (item.inner) where.push(`${alias}.j is not null`)
  return { alias, one: relationship.one }
}

function joinSql(context: ReadContext, parent: Scope, child: string, relationship: Relationship): string {
  const column = (alias: string, name: string) => `${alias}.${identifier(name)}`
  for (const [name] of relationship.pairs) parent.used.add(name)
  const { junction } = relationship
  if (junction === null) {
    return relationship.pairs
      .map(([near, far]) => `${column(parent.alias, near)} = ${column(child, far)}`)
      .join(' and ')
  }
  const via = `v${context.next++}`
  const near = relationship.pairs.map(
    ([mine, theirs]) => `${column(parent.alias, mine)} = ${column(via, theirs)}`,
  )
  const far = junction.pairs.map(([theirs, target]) => `${column(via, theirs)} = ${column(child, target)}`)
  return `exists (select from ${tableSql(junction.relation)} as ${via} where ${[...near, ...far].join(' and ')})`
}

export function tableSql(relation: Relation): string {
  return `${identifier(relation.schema)}.${identifier(relation.name)}`
}
