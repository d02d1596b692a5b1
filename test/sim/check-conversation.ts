import type { ModelMessage } from '../../shared/ports/model.ts'

/** Why a provider would refuse these messages; undefined when it would take them. */
export function checkConversation(messages: readonly ModelMessage[]): string | undefined {
  if (messages[0]?.role !== 'user') return 'it does not begin with the user'
  for (const [n, message] of messages.entries()) {
    if (message.content.length === 0) return `message ${n} is empty`
    if (message.role === messages[n + 1]?.role) return `messages ${n} and ${n + 1} have one role`
    const next = messages[n + 1]
    const calls =
      message.role === 'assistant'
        ? message.content.flatMap((block) => (block.type === 'tool_use' ? [block.id] : []))
        : []
    const results =
      next?.role === 'user'
        ? next.content.flatMap((block) => (block.type === 'tool_result' ? [block.tool_use_id] : []))
        : []
    if (message.role === 'assistant' && calls.join() !== results.join())
      return `calls ${calls.join()} are followed by the results ${results.join()}`
  }
  const last = messages.at(-1)
  return last?.role === 'user' ? undefined : 'it does not end with the user'
}
