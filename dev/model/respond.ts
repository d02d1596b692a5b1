import { readConversation } from './conversation.ts'
import { fileDemo } from './file-demo.ts'
import { detectLanguage, type Language } from './language.ts'
import { submitPlan } from './plan.ts'
import type { ScriptRequest, ScriptTurn } from './script.ts'
import { smallTask } from './small-task.ts'
import { de } from './words/de.ts'
import { en } from './words/en.ts'
import { fr } from './words/fr.ts'
import { it } from './words/it.ts'
import type { Words } from './words/words.ts'

const WORDS: Record<Language, Words> = { en, de, fr, it }

/** The scripted model: a pure function of the request. The same request always gets the same turn, from any process. */
export function respond(request: ScriptRequest): ScriptTurn {
  const conversation = readConversation(request)
  const words = WORDS[detectLanguage(conversation.prompt)]
  const offers = (tool: string) => request.tools.some(({ name }) => name === tool)
  if (offers('submit_plan')) return submitPlan(conversation, words)
  if (!offers('code')) return { text: words.noTools }
  return conversation.files.length > 0
    ? fileDemo(request, conversation, words)
    : smallTask(conversation, words)
}
