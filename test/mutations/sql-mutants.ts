import type { Mutant } from './mutant.ts'

/** A word, a sign or a literal of SQL; comments and space are left out. */
interface Token {
  text: string
  start: number
  end: number
}

const TOKEN =
  /--[^\n]*|\s+|'(?:[^']|'')*'|[a-z_][a-z_0-9.]*|\d+(?:\.\d+)?|:=|->>|->|::|<>|<=|>=|\|\||@>|[^\s]/giy

function tokens(sql: string): Token[] {
  const found: Token[] = []
  for (const match of sql.matchAll(TOKEN)) {
    if (/^(?:--|\s)/.test(match[0])) continue
    found.push({ text: match[0].toLowerCase(), start: match.index, end: match.index + match[0].length })
  }
  return found
}

/** The words that end a `where` at its own depth. */
const ENDS = new Set([
  ...['order', 'group', 'limit', 'for', 'returning', 'on', 'union', 'having', ';', 'loop', 'then', 'window'],
])
/** The words that end the condition of a join. */
const JOIN_ENDS = new Set([...ENDS, 'where', 'join', 'left', 'cross', 'for', ')'])
/** The words that end what is assigned, returned or selected. */
const VALUE_ENDS = new Set([...ENDS, 'from', 'into', 'where', ','])
const QUERY = new Set(['select', 'insert', 'update', 'delete', 'with', 'partition', 'order', 'values', ','])
/** Assignments to these columns are guards as well: they close, wake, fence or raise. */
const EFFECTS = new Set([
  ...['fence', 'token', 'state', 'lease_until', 'publication', 'publish_at', 'due_at', 'finished_at'],
  ...[
    'deadline_at',
    'group_open',
    'attempt',
    'body_sha256',
    'confirmed_at',
    'held_at',
    'paused_from',
    'next_step',
    'to_step',
    'handed_out',
    'requested_at',
    'handed_at',
    'removed_at',
    'not_before',
    'connection',
    'delivered',
  ],
])

/** Mutants of one function, from every condition, join, bound, conflict clause, row lock and guarding assignment in its text. */
export function sqlMutants(name: string, definition: string): Mutant[] {
  const all = tokens(definition)
  const mutants: Mutant[] = []
  const seen = new Set<string>()
  const line = (at: number) => definition.slice(0, at).split('\n').length
  const add = (kind: string, start: number, end: number, by: string) => {
    const sql = definition.slice(0, start) + by + definition.slice(end)
    if (seen.has(sql) || sql === definition) return
    seen.add(sql)
    const text = definition.slice(start, end).replace(/\s+/g, ' ').trim()
    mutants.push({ id: '', target: name, kind, line: line(start), text, by: by.trim(), apply: sql })
  }
  const span = (from: number, to: number): [number, number] => [all[from]?.start ?? 0, all[to - 1]?.end ?? 0]

  /** Where the expression that begins at `from` ends: before a word of `ends`, or the bracket that was open around it. */
  const endOf = (from: number, ends: ReadonlySet<string>): number => {
    let depth = 0
    let cases = 0
    for (let n = from; n < all.length; n++) {
      const text = all[n]?.text ?? ''
      if (text === 'case') cases++
      else if (text === 'end' && cases > 0) cases--
      else if (text === '(') depth++
      else if (text === ')') {
        if (depth === 0) return n
        depth--
      } else if (text === '$' || (depth === 0 && cases === 0 && ends.has(text))) return n
    }
    return all.length
  }
  const parts = (from: number, to: number, by: string): [number, number][] => {
    const found: [number, number][] = []
    let begin = from
    let depth = 0
    let cases = 0
    let between = false
    for (let n = from; n < to; n++) {
      const text = all[n]?.text
      if (text === '(') depth++
      else if (text === ')') depth--
      else if (text === 'case') cases++
      else if (text === 'end') cases--
      else if (depth === 0 && cases === 0 && text === 'between') between = true
      else if (between && depth === 0 && cases === 0 && text === 'and') between = false
      else if (depth === 0 && cases === 0 && text === by) {
        found.push([begin, n])
        begin = n + 1
      }
    }
    return [...found, [begin, to]]
  }
  /** Each operand of a top `and` and `or`, and of those in brackets of their own, made to say nothing. */
  const operands = (from: number, to: number): void => {
    const ors = parts(from, to, 'or')
    if (ors.length > 1) {
      for (const [a, b] of ors) add('or dropped', ...span(a, b), 'false')
    }
    for (const [a, b] of ors) {
      const ands = parts(a, b, 'and')
      if (ands.length > 1) for (const [c, d] of ands) add('and dropped', ...span(c, d), 'true')
      for (const [c, d] of ands) {
        if (all[c]?.text === '(' && endOf(c + 1, new Set()) === d - 1) operands(c + 1, d - 1)
      }
    }
  }
  /** Words at the depth of `from` that no condition has: what begins there is a query, a list or a definition. */
  const isQuery = (from: number, to: number): boolean => {
    let depth = 0
    for (let n = from; n < to; n++) {
      const text = all[n]?.text ?? ''
      if (text === '(') depth++
      else if (text === ')') depth--
      else if (depth === 0 && QUERY.has(text)) return true
    }
    return false
  }
  const condition = (from: number, to: number) => {
    add('always', ...span(from, to), 'true')
    add('never', ...span(from, to), 'false')
    operands(from, to)
  }

  all.forEach(({ text, start }, n) => {
    const before = all[n - 1]?.text
    if ((text === 'if' && before !== 'end') || text === 'elsif')
      condition(n + 1, endOf(n + 1, new Set(['then'])))
    else if (text === 'when' && all[n + 1]?.text !== 'unique_violation') {
      const to = endOf(n + 1, new Set(['then', ';']))
      // `case x when 'a'` chooses among words, which is no condition
      if (to - n > 2 && !all[n + 1]?.text.startsWith("'")) condition(n + 1, to)
    } else if (text === 'where') {
      const to = endOf(n + 1, ENDS)
      // of several conjuncts each is dropped by itself
      if (parts(n + 1, to, 'and').length === 1) add('where dropped', ...span(n + 1, to), 'true')
      operands(n + 1, to)
    } else if (text === 'conflict' && before === 'on') {
      const to = endOf(n + 1, new Set([';', 'returning']))
      const [, end] = span(n + 1, to)
      add('conflict not allowed', all[n - 1]?.start ?? start, end, ' ')
    } else if (text === 'for' && all[n + 1]?.text === 'update') {
      const to = endOf(n + 2, new Set([';', 'loop', 'returning']))
      const [, end] = span(n, to)
      add('not locked', start, end, ' ')
    } else if (text === 'on' && all[n + 1]?.text !== 'conflict') {
      const to = endOf(n + 1, JOIN_ENDS)
      if (parts(n + 1, to, 'and').length === 1) add('join dropped', ...span(n + 1, to), 'true')
      operands(n + 1, to)
    } else if (text === 'limit') {
      const to = endOf(n + 1, new Set([...ENDS, 'for']))
      const [, end] = span(n, to)
      add('limit dropped', start, end, ' ')
    } else if ((text === 'greatest' || text === 'least') && all[n + 1]?.text === '(') {
      const to = endOf(n + 2, new Set())
      const [, end] = span(n, to + 1)
      for (const [a, b] of parts(n + 2, to, ',')) add(`${text} of one`, start, end, textOf(a, b))
    } else if (text === '(') {
      const to = endOf(n + 1, new Set())
      if (!isQuery(n + 1, to)) operands(n + 1, to)
    } else if (text === ':=' || text === 'return' || (text === 'select' && all[n + 1]?.text !== 'distinct')) {
      operands(n + 1, endOf(n + 1, VALUE_ENDS))
    } else if (text === 'set' && before !== 'do') assignments(n + 1)
  })

  function textOf(from: number, to: number): string {
    return definition.slice(...span(from, to))
  }
  function assignments(from: number): void {
    const to = endOf(from, new Set(['where', 'from', 'returning', ';']))
    for (const [a, b] of parts(from, to, ',')) {
      const column = all[a]?.text ?? ''
      if (!EFFECTS.has(column) || all[a + 1]?.text !== '=') continue
      const [start, end] = span(a, b)
      add('not written', start, end, `${column} = ${qualified(from, column)}`)
    }
  }
  /** In an update that joins, the bare column may be ambiguous: the alias of the target tells it. */
  function qualified(set: number, column: string): string {
    const alias = all[set - 2]?.text ?? ''
    const table = all[set - 3]?.text ?? ''
    return table.includes('.') && !alias.includes('.') ? `${alias}.${column}` : column
  }
  return mutants
}
