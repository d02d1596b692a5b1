import { RedisError } from './reply.ts'

export const NOT_AN_INTEGER = 'ERR value is not an integer or out of range'
export const SYNTAX_ERROR = 'ERR syntax error'

const MAX_INT64 = 2n ** 63n - 1n
const MIN_INT64 = -(2n ** 63n)

/** A whole 64-bit number written the way Redis accepts it: no spaces, no plus, no leading zeros. */
export function toBigInt(text: string | undefined, message = NOT_AN_INTEGER): bigint {
  if (text === undefined || !/^(0|-?[1-9]\d{0,18})$/.test(text)) throw new RedisError(message)
  const value = BigInt(text)
  if (value > MAX_INT64 || value < MIN_INT64) throw new RedisError(message)
  return value
}

export function addInt64(a: bigint, b: bigint): bigint {
  const sum = a + b
  if (sum > MAX_INT64 || sum < MIN_INT64) throw new RedisError('ERR increment or decrement would overflow')
  return sum
}

export function toInteger(text: string | undefined, message = NOT_AN_INTEGER): number {
  return Number(toBigInt(text, message))
}

export function toFloat(text: string | undefined, message = 'ERR value is not a valid float'): number {
  const value = text?.toLowerCase() ?? ''
  if (/^[+]?inf(inity)?$/.test(value)) return Number.POSITIVE_INFINITY
  if (/^-inf(inity)?$/.test(value)) return Number.NEGATIVE_INFINITY
  if (!/^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/.test(value)) throw new RedisError(message)
  return Number(value)
}

export function formatFloat(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return 'inf'
  if (value === Number.NEGATIVE_INFINITY) return '-inf'
  return Object.is(value, -0) ? '-0' : String(value)
}

/** Walks through the options behind the fixed arguments of a command. */
export class Options {
  readonly #args: string[]
  #at: number
  constructor(args: string[], from: number) {
    this.#args = args
    this.#at = from
  }

  get done(): boolean {
    return this.#at >= this.#args.length
  }

  /** The next option's name in upper case. */
  name(): string {
    return this.value().toUpperCase()
  }

  value(): string {
    const value = this.#args[this.#at]
    if (value === undefined) throw new RedisError(SYNTAX_ERROR)
    this.#at += 1
    return value
  }

  integer(): number {
    return toInteger(this.value())
  }

  peek(): string | undefined {
    return this.#args[this.#at]
  }

  rest(): string[] {
    const rest = this.#args.slice(this.#at)
    this.#at = this.#args.length
    return rest
  }
}

/** A start/stop pair of LRANGE or ZRANGE as slice bounds: negative counts from the end, stop is inclusive. */
export function sliceBounds(start: number, stop: number, length: number): [number, number] {
  const from = start < 0 ? Math.max(0, length + start) : start
  const to = stop < 0 ? length + stop : stop
  return [from, Math.max(from, to + 1)]
}

/** Redis's glob (`*`, `?`, `[a-z]`, `[^a]`, `\x`) as a test. Matches by walking, not by RegExp: a hostile pattern cannot hang it. */
export function globMatcher(pattern: string): (text: string) => boolean {
  const parts = parseGlob(pattern)
  return (text) => {
    let [p, t, starAt, starText] = [0, 0, -1, 0]
    while (t < text.length) {
      const part = parts[p]
      if (part === '*') {
        starAt = p
        starText = t
        p += 1
      } else if (part?.(text[t] ?? '')) {
        p += 1
        t += 1
      } else if (starAt >= 0) {
        p = starAt + 1
        starText += 1
        t = starText
      } else return false
    }
    while (parts[p] === '*') p += 1
    return p === parts.length
  }
}

type GlobPart = '*' | ((character: string) => boolean)

function parseGlob(pattern: string): GlobPart[] {
  const parts: GlobPart[] = []
  for (let i = 0; i < pattern.length; i += 1) {
    const character = pattern[i] ?? ''
    if (character === '*') {
      if (parts.at(-1) !== '*') parts.push('*')
    } else if (character === '?') parts.push(() => true)
    else if (character === '[') {
      const close = pattern.indexOf(']', i + 1)
      const end = close < 0 ? pattern.length : close
      parts.push(classMatcher(pattern.slice(i + 1, end)))
      i = end
    } else {
      const escaped = character === '\\' && i + 1 < pattern.length
      if (escaped) i += 1
      const wanted = pattern[i] ?? ''
      parts.push((found) => found === wanted)
    }
  }
  return parts
}

function classMatcher(inside: string): (character: string) => boolean {
  const negated = inside.startsWith('^')
  const ranges: [string, string][] = []
  for (let i = negated ? 1 : 0; i < inside.length; i += 1) {
    const low = inside[i] ?? ''
    const high = inside[i + 1] === '-' ? inside[i + 2] : undefined
    ranges.push([low, high ?? low])
    if (high !== undefined) i += 2
  }
  return (found) => ranges.some(([low, high]) => found >= low && found <= high) !== negated
}
