import type { Conversation } from './conversation.ts'
import { type Outcome, printedJson } from './outcome.ts'
import { list, number, type Profile, string } from './profile.ts'
import type { Facts } from './words/words.ts'

/** Every number of the answer, out of what the programs and the shell printed. */
export function readFacts(
  { files }: Conversation,
  about: { file: string; profile: Profile; wrongGuess: string | null },
  summary: Outcome,
  table: Outcome | undefined,
): Facts {
  const printed = printedJson(summary) ?? {}
  const sum = /^sum (\d+)/m.exec(table?.stdout ?? '')?.[1]
  return {
    ...about,
    otherFiles: files.length - 1,
    field: typeof printed.field === 'string' ? printed.field : null,
    total: number(printed.total),
    groups: number(printed.groups),
    once: number(printed.once),
    missing: number(printed.missing),
    top: pairs(printed.top).map(([label, count]) => ({ label, count })),
    flags: pairs(printed.flags).map(([name, count]) => ({ name, count })),
    numbers: list(printed.numbers).map((entry) => {
      const { field, sum: total, mean, min, max } = entry as Record<string, unknown>
      return {
        field: string(field),
        sum: number(total),
        mean: number(mean),
        min: number(min),
        max: number(max),
      }
    }),
    words: number(printed.words),
    characters: number(printed.characters),
    longestLine: number(printed.longest_line),
    checkedSum: sum === undefined ? null : Number(sum),
  }
}

function pairs(value: unknown): [string, number][] {
  return list(value).map((pair) => [string(list(pair)[0]), number(list(pair)[1])])
}
