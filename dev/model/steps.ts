import type { PastCall } from './conversation.ts'
import { type Outcome, printedJson } from './outcome.ts'
import type { ScriptTurn } from './script.ts'
import type { Words } from './words/words.ts'

/** A step that failed this often is given up. A killed or lost tool is worth a repeat, a broken machine is not. */
export const MAX_FAILURES = 3

export interface Settled {
  done: Outcome | undefined
  failures: number
  last: Outcome | undefined
}

/** What became of the calls of one step. A call whose result is not in the request counts as nothing. */
export function settle(calls: readonly PastCall[], isDone = (outcome: Outcome) => outcome.ok): Settled {
  const outcomes = calls.flatMap(({ outcome }) => (outcome === undefined ? [] : [outcome]))
  const done = outcomes.findLast(isDone)
  return { done, failures: outcomes.filter((outcome) => !isDone(outcome)).length, last: outcomes.at(-1) }
}

export const printsJson = (outcome: Outcome) => outcome.ok && printedJson(outcome) !== undefined

export function marked(calls: readonly PastCall[], mark: string): PastCall[] {
  return calls.filter(
    ({ name, input }) => name === 'code' && typeof input.code === 'string' && input.code.startsWith(mark),
  )
}

/** The next call of a step that is not done: the first, a repeat, or, after MAX_FAILURES, an answer that says so. */
export function attempt(
  { failures, last }: Settled,
  step: keyof Words['steps'],
  words: Words,
  text: string,
  call: NonNullable<ScriptTurn['call']>,
): ScriptTurn {
  if (failures < MAX_FAILURES) return { text: failures === 0 ? text : words.before.again, call }
  const said = last === undefined ? '' : last.stderr.trim() || last.text
  return { text: words.failed(words.steps[step], failures, said.replace(/\s+/g, ' ').trim().slice(-300)) }
}

export function code(source: string): NonNullable<ScriptTurn['call']> {
  return { name: 'code', input: { language: 'javascript', code: source } }
}
