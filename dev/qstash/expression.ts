/**
 * `Upstash-Retry-Delay` is arithmetic in milliseconds over the variable `retried` (0 before the first retry). Parsed by hand,
 * never evaluated as code: the header comes from outside.
 */
const FUNCTIONS: Record<string, { arity: [number, number]; run: (...args: number[]) => number }> = {
  pow: { arity: [2, 2], run: (base = 0, power = 0) => base ** power },
  exp: { arity: [1, 1], run: (x = 0) => Math.exp(x) },
  sqrt: { arity: [1, 1], run: (x = 0) => Math.sqrt(x) },
  abs: { arity: [1, 1], run: (x = 0) => Math.abs(x) },
  floor: { arity: [1, 1], run: (x = 0) => Math.floor(x) },
  ceil: { arity: [1, 1], run: (x = 0) => Math.ceil(x) },
  round: { arity: [1, 1], run: (x = 0) => Math.round(x) },
  min: { arity: [1, 8], run: Math.min },
  max: { arity: [1, 8], run: Math.max },
}

/** Longest expression and deepest nesting: far beyond any real one, small enough that recursion is safe. */
const MAX_CHARACTERS = 256
const MAX_DEPTH = 32

type Evaluate = (retried: number) => number

export class ExpressionError extends Error {}

/** Compiles the expression; throws ExpressionError with the position of what it did not understand. */
export function parseExpression(source: string): Evaluate {
  if (source.length > MAX_CHARACTERS) throw new ExpressionError(`longer than ${MAX_CHARACTERS} characters`)
  const tokens = tokenize(source)
  let at = 0
  let depth = 0

  const peek = () => tokens[at]
  const take = (text: string): boolean => {
    if (tokens[at]?.text !== text) return false
    at += 1
    return true
  }
  const fail = (): never => {
    const token = peek()
    throw new ExpressionError(token ? `unexpected "${token.text}" at ${token.index}` : 'ends too early')
  }
  const expect = (text: string) => {
    if (!take(text)) fail()
  }

  function sum(): Evaluate {
    let left = product()
    for (;;) {
      const [l, plus] = [left, take('+')]
      if (!plus && !take('-')) return left
      const right = product()
      left = plus ? (n) => l(n) + right(n) : (n) => l(n) - right(n)
    }
  }

  function product(): Evaluate {
    let left = unary()
    for (;;) {
      const l = left
      if (take('*')) {
        const right = unary()
        left = (n) => l(n) * right(n)
      } else if (take('/')) {
        const right = unary()
        left = (n) => l(n) / right(n)
      } else return left
    }
  }

  function unary(): Evaluate {
    depth += 1
    if (depth > MAX_DEPTH) throw new ExpressionError(`nested deeper than ${MAX_DEPTH}`)
    try {
      if (take('-')) {
        const inner = unary()
        return (n) => -inner(n)
      }
      return atom()
    } finally {
      depth -= 1
    }
  }

  function atom(): Evaluate {
    const token = peek()
    if (!token) return fail()
    if (take('(')) {
      const inner = sum()
      expect(')')
      return inner
    }
    if (token.kind === 'number') {
      at += 1
      const value = Number(token.text)
      return () => value
    }
    if (token.kind !== 'name') return fail()
    at += 1
    if (token.text === 'retried') return (retried) => retried
    const found = Object.hasOwn(FUNCTIONS, token.text) ? FUNCTIONS[token.text] : undefined
    if (!found) throw new ExpressionError(`unknown name "${token.text}" at ${token.index}`)
    expect('(')
    const args = [sum()]
    while (take(',')) args.push(sum())
    expect(')')
    if (args.length < found.arity[0] || args.length > found.arity[1]) {
      throw new ExpressionError(`wrong number of arguments for ${token.text}`)
    }
    return (n) => found.run(...args.map((arg) => arg(n)))
  }

  const result = sum()
  if (at < tokens.length) fail()
  return result
}

interface Token {
  kind: 'number' | 'name' | 'sign'
  text: string
  index: number
}

function tokenize(source: string): Token[] {
  const tokens: Token[] = []
  const pattern = /\s*(?:(\d+(?:\.\d+)?)|([a-z]+)|([-+*/(),]))/gy
  let end = 0
  for (const match of source.matchAll(pattern)) {
    end = match.index + match[0].length
    const text = match[1] ?? match[2] ?? match[3] ?? ''
    tokens.push({ kind: match[1] ? 'number' : match[2] ? 'name' : 'sign', text, index: end - text.length })
  }
  if (source.slice(end).trim() !== '')
    throw new ExpressionError(`unexpected "${source.slice(end).trim()[0]}" at ${end}`)
  return tokens
}
