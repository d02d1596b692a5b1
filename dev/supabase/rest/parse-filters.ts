import { RestError } from './errors.ts'
import type { Comparison, Condition, Group, OrderTerm } from './query-types.ts'
import { MAX_DEPTH, Scanner } from './scanner.ts'

const OPERATORS = new Set(
  'eq neq gt gte lt lte like ilike match imatch in is isdistinct cs cd ov sl sr nxr nxl adj fts plfts phfts wfts'.split(
    ' ',
  ),
)
const QUANTIFIED = new Set('eq gt gte lt lte like ilike match imatch'.split(' '))

type Operation = Pick<Comparison, 'not' | 'operator' | 'quantifier' | 'language'>

/** Parses the right side of `column=eq.5`; the value is the rest of the text, as it stands. */
export function parseComparison(column: string, text: string): Comparison {
  const left = new Scanner(column)
  const field = { column: left.name(), path: left.jsonPath() }
  if (!left.done) left.fail('expecting "->" or end of input')
  const scanner = new Scanner(text)
  const operation = parseOperation(scanner)
  return { kind: 'compare', ...field, ...operation, value: text.slice(scanner.at) }
}

/** Parses `(a.eq.1,and(b.gt.2,c.is.null))`. */
export function parseGroup(join: 'and' | 'or', not: boolean, text: string): Group {
  const scanner = new Scanner(text)
  const group = parseItems(scanner, join, not, 0)
  if (!scanner.done) scanner.fail('expecting end of input')
  return group
}

function parseItems(scanner: Scanner, join: 'and' | 'or', not: boolean, depth: number): Group {
  if (depth > MAX_DEPTH) scanner.fail(`expecting at most ${MAX_DEPTH} levels`)
  const items: Condition[] = []
  scanner.expect('(')
  do {
    while (scanner.take(' ')) {}
    items.push(parseCondition(scanner, depth))
  } while (scanner.take(','))
  scanner.expect(')')
  return { kind: 'group', not, join, items }
}

function parseCondition(scanner: Scanner, depth: number): Condition {
  const start = scanner.at
  const not = scanner.take('not.')
  for (const join of ['and', 'or'] as const) {
    if (scanner.take(`${join}(`)) {
      scanner.at--
      return parseItems(scanner, join, not, depth + 1)
    }
  }
  // A column may be called `not`.
  scanner.at = start
  const field = { column: scanner.name(), path: scanner.jsonPath() }
  scanner.expect('.')
  const operation = parseOperation(scanner)
  return { kind: 'compare', ...field, ...operation, value: parseValue(scanner, operation.operator) }
}

function parseOperation(scanner: Scanner): Operation {
  const not = scanner.take('not.')
  const operator = scanner.until('.(')
  if (!OPERATORS.has(operator)) {
    scanner.at -= operator.length
    scanner.fail('expecting operator (eq, gt, ...)')
  }
  let argument: string | null = null
  if (scanner.take('(')) {
    argument = scanner.until(')')
    scanner.expect(')')
  }
  scanner.expect('.')
  if (argument === null) return { not, operator, quantifier: null, language: null }
  if (operator.endsWith('fts')) return { not, operator, quantifier: null, language: argument }
  if ((argument !== 'any' && argument !== 'all') || !QUANTIFIED.has(operator))
    scanner.fail('expecting "." after operator')
  return { not, operator, quantifier: argument as 'any' | 'all', language: null }
}

function parseValue(scanner: Scanner, operator: string): string {
  if (operator === 'in') return bracketed(scanner, '(', ')')
  if (scanner.peek('{')) return bracketed(scanner, '{', '}')
  if (scanner.peek('"')) return scanner.quoted()
  return scanner.until(',)')
}

/** The text from `open` to its `close`, both included; quotes inside may hold either. */
function bracketed(scanner: Scanner, open: string, close: string): string {
  const start = scanner.at
  scanner.expect(open)
  for (let depth = 1; depth > 0; ) {
    if (scanner.done) scanner.fail(`expecting "${close}"`)
    if (scanner.peek('"')) {
      scanner.quoted()
      continue
    }
    if (scanner.peek(open)) depth++
    if (scanner.peek(close)) depth--
    scanner.at++
  }
  return scanner.text.slice(start, scanner.at)
}

/** The members of `(a,"b,c",d)`. */
export function parseList(text: string): string[] {
  const scanner = new Scanner(text)
  scanner.expect('(')
  const members: string[] = []
  if (scanner.take(')')) return members
  do {
    members.push(scanner.peek('"') ? scanner.quoted() : scanner.until(',)'))
  } while (scanner.take(','))
  scanner.expect(')')
  if (!scanner.done) scanner.fail('expecting end of input')
  return members
}

/** Parses `a.desc.nullslast,b->>c`. */
export function parseOrder(text: string): OrderTerm[] {
  const scanner = new Scanner(text)
  const terms: OrderTerm[] = []
  do {
    const term: OrderTerm = {
      column: scanner.name(),
      path: scanner.jsonPath(),
      descending: false,
      nulls: null,
    }
    if (scanner.take('.desc')) term.descending = true
    else scanner.take('.asc')
    if (scanner.take('.nullsfirst')) term.nulls = 'first'
    else if (scanner.take('.nullslast')) term.nulls = 'last'
    terms.push(term)
  } while (scanner.take(','))
  if (!scanner.done) scanner.fail('expecting "asc", "desc", "nullsfirst" or "nullslast"')
  return terms
}

export function parseCount(name: string, text: string): number {
  const value = Number(text)
  if (/^\d+$/.test(text) && Number.isSafeInteger(value)) return value
  throw new RestError(
    400,
    'PGRST100',
    `"failed to parse ${name} (${text.slice(0, 40)})"`,
    'expecting a whole number',
  )
}
