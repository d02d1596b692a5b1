import type { AssistantBlock, ModelMessage, ToolResultBlock, UserBlock } from '../ports/model.ts'
import type { ConversationMessage } from '../ports/store.ts'
import { SUBMIT_PLAN } from './prompts/planner.ts'
import { userRequest } from './prompts/user-request.ts'

export interface Conversation {
  messages: ModelMessage[]
  /** Messages that are not in it because they did not fit. */
  omitted: number
}

/**
 * The stored conversation as a model takes it: the user's request, then whole turns. A tool_use whose result is missing, or a
 * result whose call was cut off, is refused by the model's API, so a turn is in with all its results or not at all.
 *
 * @param stored the first message and the newest that fit, oldest first
 * @param total how many messages the run has
 */
export function buildConversation(
  stored: readonly ConversationMessage[],
  total: number,
  memoryContext: string | null,
): Conversation {
  const [request, ...tail] = stored
  if (request === undefined || request.role !== 'user') throw new Error('a run begins with its user message')
  const texts = userRequest({
    prompt: request.content,
    files: request.attachments.map(({ path, size }) => ({ path: String(path), sizeBytes: Number(size) })),
    memoryContext,
  })

  const cut = total > stored.length
  const results = new Map<string, ConversationMessage>()
  for (const message of tail) {
    if (message.role === 'tool' && message.tool_call_id !== null) results.set(message.tool_call_id, message)
  }
  const turns: ModelMessage[] = []
  let dropped = 0
  let used = 0
  for (const message of tail) {
    if (message.tool_name === SUBMIT_PLAN) continue
    if (message.role === 'user') {
      turns.push({ role: 'user', content: [{ type: 'text', text: message.content }] })
    } else if (message.role === 'assistant' && message.blocks !== null) {
      const blocks = cut
        ? withoutThinking(message.blocks as AssistantBlock[])
        : (message.blocks as AssistantBlock[])
      const calls = blocks.filter((block) => block.type === 'tool_use')
      const answers = calls.map((call) => results.get(call.id))
      if (answers.some((answer) => answer === undefined)) {
        dropped += 1
        continue
      }
      turns.push({ role: 'assistant', content: blocks })
      used += answers.length
      if (calls.length > 0) {
        turns.push({ role: 'user', content: calls.map((call) => toolResult(call.id, results.get(call.id))) })
      }
    }
  }
  const omitted = total - stored.length + dropped + Math.max(0, results.size - used)
  const head: UserBlock[] = texts.map((text) => ({ type: 'text', text }))
  if (cut) {
    head.push({
      type: 'text',
      text: `\n\n[${omitted} earlier messages of this conversation were left out because it has become long.]`,
    })
  }
  return { messages: mergeUserTurns([{ role: 'user', content: head }, ...turns]), omitted: cut ? omitted : 0 }
}

/** Models refuse their own thinking where what stood before it has changed, as it has in a conversation that was cut. */
function withoutThinking(blocks: readonly AssistantBlock[]): AssistantBlock[] {
  return blocks.filter(({ type }) => type !== 'thinking' && type !== 'redacted_thinking')
}

function toolResult(id: string, message: ConversationMessage | undefined): ToolResultBlock {
  return {
    type: 'tool_result',
    tool_use_id: id,
    content: message?.content ?? '',
    is_error: message?.is_error ?? false,
  }
}

/** Roles alternate in the model's API: neighbouring user turns become one, results before texts. */
function mergeUserTurns(messages: readonly ModelMessage[]): ModelMessage[] {
  const merged: ModelMessage[] = []
  for (const message of messages) {
    const last = merged.at(-1)
    if (last?.role === 'user' && message.role === 'user') {
      last.content = [...last.content, ...message.content].sort(
        (a, b) => Number(b.type === 'tool_result') - Number(a.type === 'tool_result'),
      )
    } else {
      merged.push({ ...message } as ModelMessage)
    }
  }
  return merged
}
