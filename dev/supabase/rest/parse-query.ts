import { RestError } from './errors.ts'
import { parseComparison, parseCount, parseGroup, parseOrder } from './parse-filters.ts'
import { parseSelect } from './parse-select.ts'
import { emptyQuery, type NodeQuery } from './query-types.ts'
import { Scanner } from './scanner.ts'

// They steer the request itself and never name a column.
const RESERVED = new Set(['select', 'columns', 'on_conflict', 'apikey'])

/**
 * The whole query string as one tree: every filter, order, limit and offset sits at the root or at the embed that its
 * prefix names. `skip` are keys that mean something else (arguments of a function).
 */
export function parseQuery(params: URLSearchParams, skip: ReadonlySet<string> = new Set()): NodeQuery {
  const root = emptyQuery(parseSelect(params.get('select') ?? ''))
  for (const [key, value] of params) {
    if (!RESERVED.has(key) && !skip.has(key)) place(root, key, value)
  }
  return root
}

function place(root: NodeQuery, key: string, value: string): void {
  const { embeds, last, not } = splitKey(key)
  const node = embeds.reduce(embedOf, root)
  if (last === 'or' || last === 'and') {
    node.where.push(parseGroup(last, not, value))
  } else if (last === 'order') {
    node.order = parseOrder(value)
  } else if (last === 'limit') {
    node.limit = parseCount('limit', value)
  } else if (last === 'offset') {
    node.offset = parseCount('offset', value)
  } else {
    node.where.push(parseComparison(last, value))
  }
}

/** `messages.author.name->first` → embeds `messages`, `author`; last `name->first`. */
function splitKey(key: string): { embeds: string[]; last: string; not: boolean } {
  const scanner = new Scanner(key)
  const embeds: string[] = []
  for (;;) {
    const start = scanner.at
    const name = scanner.name()
    const rest = key.slice(start)
    if (!scanner.take('.')) return { embeds, last: rest, not: false }
    if (
      name === 'not' &&
      (scanner.text.slice(scanner.at) === 'or' || scanner.text.slice(scanner.at) === 'and')
    ) {
      return { embeds, last: scanner.text.slice(scanner.at), not: true }
    }
    embeds.push(name)
  }
}

function embedOf(node: NodeQuery, name: string): NodeQuery {
  for (const item of node.items) {
    if (item.kind === 'embed' && (item.alias ?? item.target) === name) return item.query
  }
  for (const item of node.items) {
    if (item.kind === 'embed' && item.target === name) return item.query
  }
  throw new RestError(
    400,
    'PGRST108',
    `'${name}' is not an embedded resource in this request`,
    null,
    `Verify that '${name}' is included in the 'select' query parameter.`,
  )
}
