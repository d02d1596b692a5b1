/** What a request asks for, parsed but not yet checked against the catalogue. */
export interface JsonStep {
  arrow: '->' | '->>'
  key: string
}

export interface Field {
  column: string
  path: JsonStep[]
}

export interface SelectStar {
  kind: 'star'
}

export interface SelectField extends Field {
  kind: 'field'
  alias: string | null
  cast: string | null
}

export interface SelectCount {
  kind: 'count'
  alias: string | null
}

export interface SelectEmbed {
  kind: 'embed'
  alias: string | null
  /** Relation, foreign key or foreign key column. */
  target: string
  hint: string | null
  inner: boolean
  query: NodeQuery
}

export type SelectItem = SelectStar | SelectField | SelectCount | SelectEmbed

export interface Comparison extends Field {
  kind: 'compare'
  not: boolean
  operator: string
  quantifier: 'any' | 'all' | null
  /** Dictionary of a text search, as in `fts(english)`. */
  language: string | null
  value: string
}

export interface Group {
  kind: 'group'
  not: boolean
  join: 'and' | 'or'
  items: Condition[]
}

export type Condition = Comparison | Group

export interface OrderTerm extends Field {
  descending: boolean
  nulls: 'first' | 'last' | null
}

/** The query of the root or of one embed. */
export interface NodeQuery {
  items: SelectItem[]
  where: Condition[]
  order: OrderTerm[]
  limit: number | null
  offset: number
}

export function emptyQuery(items: SelectItem[]): NodeQuery {
  return { items, where: [], order: [], limit: null, offset: 0 }
}
