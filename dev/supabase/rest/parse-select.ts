import { emptyQuery, type SelectItem } from './query-types.ts'
import { MAX_DEPTH, Scanner } from './scanner.ts'

/** Parses `select`: columns, aliases, casts, JSON paths, `*`, `count()` and nested embeds with hints and `!inner`. */
export function parseSelect(text: string): SelectItem[] {
  if (text.trim() === '') return [{ kind: 'star' }]
  const scanner = new Scanner(text)
  const items = parseItems(scanner, 0)
  if (!scanner.done) scanner.fail('expecting "," or end of input')
  return items
}

function parseItems(scanner: Scanner, depth: number): SelectItem[] {
  if (depth > MAX_DEPTH) scanner.fail(`expecting at most ${MAX_DEPTH} levels`)
  const items: SelectItem[] = []
  do {
    while (scanner.take(' ')) {}
    items.push(parseItem(scanner, depth))
    while (scanner.take(' ')) {}
  } while (scanner.take(','))
  return items
}

function parseItem(scanner: Scanner, depth: number): SelectItem {
  if (scanner.take('*')) return { kind: 'star' }
  if (scanner.peek('...')) scanner.fail('because spread embeds are not part of the development face')
  let alias: string | null = null
  let name = scanner.name()
  if (scanner.peek(':') && !scanner.peek('::')) {
    scanner.expect(':')
    alias = name
    name = scanner.name()
  }
  const modifiers = parseModifiers(scanner)
  if (scanner.peek('(')) return parseEmbed(scanner, depth, { alias, target: name, modifiers })
  if (modifiers.length > 0) scanner.fail('expecting "("')
  const path = scanner.jsonPath()
  const cast = scanner.take('::') ? scanner.until(',)') : null
  return { kind: 'field', alias, column: name, path, cast }
}

function parseModifiers(scanner: Scanner): string[] {
  const modifiers: string[] = []
  while (scanner.take('!')) modifiers.push(scanner.name())
  return modifiers
}

function parseEmbed(
  scanner: Scanner,
  depth: number,
  head: { alias: string | null; target: string; modifiers: string[] },
): SelectItem {
  scanner.expect('(')
  if (scanner.take(')')) {
    // `count()`; an embed without columns is there for filters only.
    if (head.target === 'count' && head.modifiers.length === 0) return { kind: 'count', alias: head.alias }
    return embed(head, [])
  }
  const items = parseItems(scanner, depth + 1)
  scanner.expect(')')
  return embed(head, items)
}

function embed(
  head: { alias: string | null; target: string; modifiers: string[] },
  items: SelectItem[],
): SelectItem {
  const hints = head.modifiers.filter((modifier) => modifier !== 'inner' && modifier !== 'left')
  return {
    kind: 'embed',
    alias: head.alias,
    target: head.target,
    hint: hints[0] ?? null,
    inner: head.modifiers.includes('inner'),
    query: emptyQuery(items),
  }
}
