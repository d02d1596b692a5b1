import { closestField } from './closest-field.ts'
import type { Conversation, PastCall } from './conversation.ts'
import { readFacts } from './facts.ts'
import { printedJson } from './outcome.ts'
import { type Profile, readProfile } from './profile.ts'
import { CHART_MARK, chartProgram } from './programs/chart-program.ts'
import { PROFILE_MARK, profileProgram } from './programs/profile-program.ts'
import {
  bytesProgram,
  recordsProgram,
  SUMMARY_MARK,
  shapeProgram,
  wordsProgram,
} from './programs/summary-programs.ts'
import { TABLE_COMMAND } from './programs/table-command.ts'
import type { ScriptRequest, ScriptTurn } from './script.ts'
import { attempt, code, marked, printsJson, settle } from './steps.ts'
import type { Words } from './words/words.ts'

/** Where no field looks like the one that was guessed. Answered by the recordsProgram. */
const NO_FIELD = /Error: no record has a field '(.*?)'; the fields are: ([^\n]+)/

/** The next turn of the demonstration on a file: the first of its steps that is not done yet. */
export function fileDemo(request: ScriptRequest, conversation: Conversation, words: Words): ScriptTurn {
  const { calls, files } = conversation
  const path = files[0]?.path ?? ''
  const file = fileName(path)
  const offered = new Set(request.tools.map(({ name }) => name))
  const called = (name: string, phase?: number) =>
    !offered.has(name) ||
    calls.some((call) => call.name === name && (phase === undefined || call.input.phase_number === phase))

  const looked = settle(
    marked(calls, PROFILE_MARK),
    (outcome) => outcome.ok && readProfile(printedJson(outcome)) !== undefined,
  )
  const profile = looked.done === undefined ? undefined : readProfile(printedJson(looked.done))
  if (profile === undefined) {
    return attempt(looked, 'profile', words, words.before.profile(file), code(profileProgram(path)))
  }
  if (!called('advance_phase', 1)) return advance(1, words.phaseDone.look(profile))

  const summaries = marked(calls, SUMMARY_MARK)
  const guess = guessField(profile)
  const wrong = summaries.map(missingField).find((found) => found !== undefined)
  const counted = settle(
    summaries.filter((call) => missingField(call) === undefined),
    printsJson,
  )
  if (counted.done === undefined) {
    const field =
      wrong === undefined ? guess : closestField(guess, wrong.names, profile.collection?.fields ?? [])
    const text =
      wrong !== undefined && field !== undefined
        ? words.before.repair(wrong.guess, field)
        : hasRecords(profile)
          ? words.before.guess(guess)
          : words.before.count
    // The repaired name is one that the program itself has listed; were it refused as well, that would count as a failure.
    const failures =
      counted.failures + Math.max(0, summaries.filter((call) => missingField(call) !== undefined).length - 1)
    return attempt(
      { ...counted, failures },
      'summary',
      words,
      text,
      code(summaryProgram(path, profile, field ?? guess, words)),
    )
  }

  const checked = settle(calls.filter(({ name }) => name === 'shell'))
  if (checked.done === undefined && offered.has('shell')) {
    return attempt(checked, 'table', words, words.before.table, {
      name: 'shell',
      input: { command: TABLE_COMMAND },
    })
  }
  const facts = readFacts(
    conversation,
    { file, profile, wrongGuess: wrong?.guess ?? null },
    counted.done,
    checked.done,
  )
  if (!called('advance_phase', 2)) return advance(2, words.phaseDone.compute(facts))

  const drawn = settle(marked(calls, CHART_MARK), printsJson)
  if (drawn.done === undefined) {
    const { chart, locale } = words
    const labels = {
      title: chart.title(facts),
      subtitle: chart.subtitle(facts),
      others: chart.others,
      empty: chart.empty,
      locale,
    }
    return attempt(drawn, 'chart', words, words.before.chart, code(chartProgram(labels)))
  }
  if (!called('message')) {
    return { text: words.before.message, call: { name: 'message', input: { message: words.message } } }
  }
  return { text: words.answer(facts) }
}

export function fileName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

function advance(phase: number, summary: string): ScriptTurn {
  return { text: '', call: { name: 'advance_phase', input: { phase_number: phase, summary } } }
}

function hasRecords({ collection }: Profile): boolean {
  return collection !== undefined && collection.fields.length > 0
}

/** A name one would expect without looking. Packages have a licence, spelt as the British do; other things a category. */
function guessField({ collection }: Profile): string {
  return collection?.path.at(-1) === 'packages' ? 'licence' : 'category'
}

function missingField({ outcome }: PastCall): { guess: string; names: string[] } | undefined {
  if (outcome === undefined || outcome.ok) return undefined
  const [, guess, names] =
    NO_FIELD.exec(outcome.stderr) ?? NO_FIELD.exec(outcome.text.replaceAll('\\n', '\n')) ?? []
  return guess === undefined || names === undefined ? undefined : { guess, names: names.split(', ') }
}

function summaryProgram(path: string, profile: Profile, field: string, { labels }: Words): string {
  if (hasRecords(profile)) return recordsProgram(path, profile, field, labels)
  if (profile.kind === 'json') return shapeProgram(path)
  return profile.kind === 'text' ? wordsProgram(path) : bytesProgram(path, labels)
}
