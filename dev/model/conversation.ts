import { type Outcome, readOutcome } from './outcome.ts'
import type { ScriptRequest } from './script.ts'

export interface PastCall {
  name: string
  input: Record<string, unknown>
  /** Missing while the call has no result in the request. */
  outcome: Outcome | undefined
}

export interface Conversation {
  prompt: string
  /** Files under inputs/, in the order they were listed. */
  files: { path: string; sizeBytes: number }[]
  calls: PastCall[]
}

/** Texts that the engine puts after the prompt (shared/engine/prompts); aimock glues all blocks of a message together. */
const AFTER_PROMPT =
  /\n\n(?:Files that came with this request:|Notes kept from earlier|Phase \d+ of \d+ begins)|\n*(?:[-*] )?inputs\/[^\n]+ \(\d+ bytes\)/
const NOTES = /\n\nNotes kept from earlier conversations[\s\S]*?<\/notes>/
const FILE = /(inputs\/[^\n]+?) \((\d+) bytes\)/g

export function readConversation({ messages }: ScriptRequest): Conversation {
  const first = messages.find((message) => message.role === 'user')
  const text = (first?.content ?? []).map((block) => (block.type === 'text' ? block.text : '')).join('')
  const listed = [...text.replace(NOTES, '').matchAll(FILE)].map(
    ([, path = '', size]) => [path, Number(size)] as const,
  )
  const results = new Map(
    messages.flatMap((message) =>
      message.role === 'user'
        ? message.content.flatMap((block) =>
            block.type === 'tool_result' ? [[block.tool_use_id, block.content] as const] : [],
          )
        : [],
    ),
  )
  const calls = messages.flatMap((message) =>
    message.role === 'assistant'
      ? message.content.flatMap((block): PastCall[] => {
          if (block.type !== 'tool_use') return []
          const result = results.get(block.id)
          const input = typeof block.input === 'object' && block.input !== null ? block.input : {}
          return [
            {
              name: block.name,
              input: input as Record<string, unknown>,
              outcome: result === undefined ? undefined : readOutcome(result),
            },
          ]
        })
      : [],
  )
  return {
    prompt: text.slice(0, AFTER_PROMPT.exec(text)?.index ?? text.length).trim(),
    files: [...new Map(listed)].map(([path, sizeBytes]) => ({ path, sizeBytes })),
    calls,
  }
}
