import type { Conversation } from './conversation.ts'
import { printedJson } from './outcome.ts'
import { number, string } from './profile.ts'
import type { ScriptTurn } from './script.ts'
import { attempt, code, marked, printsJson, settle } from './steps.ts'
import type { Words } from './words/words.ts'

const MARK = '// Measure the prompt'

/** The prompt travels inside the program, character by character to the screen; 4,000 are enough to show. */
const MAX_PROMPT_CHARS = 4000

/** Any prompt without a file: one small real program about the prompt, and a plain word on what this is. */
export function smallTask({ prompt, calls }: Conversation, words: Words): ScriptTurn {
  const characters = [...prompt]
  const cut = characters.length > MAX_PROMPT_CHARS
  const measured = settle(marked(calls, MARK), printsJson)
  if (measured.done === undefined) {
    const program = measureProgram(characters.slice(0, MAX_PROMPT_CHARS).join(''))
    return attempt(measured, 'small', words, words.before.small, code(program))
  }
  const printed = printedJson(measured.done) ?? {}
  return {
    text: words.small({
      words: number(printed.words),
      characters: number(printed.characters),
      lines: number(printed.lines),
      sha256: string(printed.sha256),
      cut,
    }),
  }
}

function measureProgram(prompt: string): string {
  return `${MARK}
const PROMPT = ${JSON.stringify(prompt)}

async function main() {
  const { createHash } = await import('node:crypto')
  console.log(JSON.stringify({
    words: (PROMPT.match(/[\\p{L}\\p{N}]+(?:['’-][\\p{L}\\p{N}]+)*/gu) ?? []).length,
    characters: [...PROMPT].length,
    lines: PROMPT.split('\\n').length,
    sha256: createHash('sha256').update(PROMPT).digest('hex'),
  }))
}

main()
`
}
