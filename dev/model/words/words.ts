import type { Profile } from '../profile.ts'
import type { SummaryLabels } from '../programs/summary-programs.ts'

/** What the answer tells, read from tool results. */
export interface Facts {
  file: string
  otherFiles: number
  profile: Profile
  /** Name of the field the records were counted by; null where the file has no records. */
  field: string | null
  /** A guessed name that the file does not have, and that was repaired; null when nothing had to be. */
  wrongGuess: string | null
  total: number
  groups: number
  once: number
  missing: number
  top: { label: string; count: number }[]
  flags: { name: string; count: number }[]
  numbers: { field: string; sum: number; mean: number; min: number; max: number }[]
  words: number
  characters: number
  longestLine: number
  /** The sum that the shell command found; null when it printed none. */
  checkedSum: number | null
}

/** Everything the scripted model says, in one language. Names of files, fields and groups are given ready for Markdown. */
export interface Words {
  locale: string
  kind(profile: Profile): string
  plan: {
    goal(file: string): string
    look: [name: string, description: string]
    compute: [name: string, description: string]
    report: [name: string, description: string]
    risk: string
    small: { goal: string; name: string; description: string }
  }
  /** One sentence before each tool call. */
  before: {
    profile(file: string): string
    guess(field: string): string
    repair(guess: string, field: string): string
    count: string
    again: string
    table: string
    chart: string
    message: string
    small: string
  }
  phaseDone: { look(profile: Profile): string; compute(facts: Facts): string }
  message: string
  labels: SummaryLabels
  chart: { title(facts: Facts): string; subtitle(facts: Facts): string; others: string; empty: string }
  answer(facts: Facts): string
  failed(step: string, times: number, last: string): string
  small(facts: { words: number; characters: number; lines: number; sha256: string; cut: boolean }): string
  /** Steps, as named when one has failed for good. */
  steps: Record<'profile' | 'summary' | 'table' | 'chart' | 'small', string>
  noTools: string
}
