import { RestError } from './errors.ts'
import type { JsonStep } from './query-types.ts'

// A request line holds 16 KiB in Node; this bounds recursion, not length.
export const MAX_DEPTH = 16

const NAME_END = new Set([',', '.', ':', '(', ')', '!', '"', '>', '='])

/** Reads the small languages of `select`, filters and `order` from left to right. */
export class Scanner {
  readonly text: string
  at = 0

  constructor(text: string) {
    this.text = text
  }

  get done(): boolean {
    return this.at >= this.text.length
  }

  peek(part: string): boolean {
    return this.text.startsWith(part, this.at)
  }

  take(part: string): boolean {
    if (!this.peek(part)) return false
    this.at += part.length
    return true
  }

  expect(part: string): void {
    if (!this.take(part)) this.fail(`expecting "${part}"`)
  }

  fail(what: string): never {
    const found = this.done ? 'end of input' : `"${this.text.slice(this.at, this.at + 16)}"`
    throw new RestError(
      400,
      'PGRST100',
      `"failed to parse (${this.text.slice(0, 200)})" (line 1, column ${this.at + 1})`,
      `unexpected ${found} ${what}`,
    )
  }

  /** A bare name, or one in double quotes with backslash escapes. */
  name(): string {
    if (this.peek('"')) return this.quoted()
    const start = this.at
    while (!this.done && !NAME_END.has(this.text.charAt(this.at)) && !this.peek('->')) this.at++
    const name = this.text.slice(start, this.at).trim()
    return name === '' ? this.fail('expecting a name') : name
  }

  quoted(): string {
    this.expect('"')
    let value = ''
    while (!this.take('"')) {
      if (this.done) this.fail('expecting the closing quote')
      if (this.peek('\\')) this.at++
      value += this.text.charAt(this.at++)
    }
    return value
  }

  /** `->a->>b` */
  jsonPath(): JsonStep[] {
    const path: JsonStep[] = []
    for (;;) {
      const arrow = this.take('->>') ? '->>' : this.take('->') ? '->' : null
      if (arrow === null) return path
      path.push({ arrow, key: this.peek('-') ? this.negativeIndex() : this.name() })
    }
  }

  private negativeIndex(): string {
    this.expect('-')
    return `-${this.name()}`
  }

  /** Everything up to one of `ends` or the end of input. */
  until(ends: string): string {
    const start = this.at
    while (!this.done && !ends.includes(this.text.charAt(this.at))) this.at++
    return this.text.slice(start, this.at)
  }
}
