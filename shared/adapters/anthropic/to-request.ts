import type Anthropic from '@anthropic-ai/sdk'
import type { ModelMessage, ModelRequest, ToolDefinition, UserBlock } from '../../ports/model.ts'

type BlockParam = Anthropic.Messages.ContentBlockParam

const CACHED = { type: 'ephemeral' } as const

/**
 * The request as the Messages API wants it, with its four cache breakpoints (the API allows four): after the tools, after the
 * system prompt, and after the last two user messages. The newest one writes the cache that the next turn reads; the one before
 * it is where this turn finds what the last turn wrote.
 *
 * A demanded tool is asked for, not forced: models from Claude Fable 5.1 and the 5.5 family on answer a forced `tool_choice`
 * with 400, and older ones do so while they think. So only that tool is offered and the system prompt ends with the demand; the
 * caller has to expect a turn without the call.
 */
export function toRequest(
  model: string,
  request: ModelRequest,
): Anthropic.Messages.MessageCreateParamsStreaming {
  const { toolChoice } = request
  const tools =
    typeof toolChoice === 'object'
      ? request.tools.filter(({ name }) => name === toolChoice.name)
      : request.tools
  const system = [request.system, demand(request)].filter((text) => text.trim() !== '').join('\n\n')
  return {
    model,
    stream: true,
    max_tokens: request.maxTokens,
    messages: toMessages(request.messages),
    ...(system === ''
      ? {}
      : { system: [{ type: 'text', text: system.toWellFormed(), cache_control: CACHED }] }),
    ...(tools.length === 0 ? {} : { tools: toTools(tools), tool_choice: { type: 'auto' } }),
  }
}

function demand({ toolChoice }: ModelRequest): string {
  if (toolChoice === 'auto') return ''
  return `Answer by calling the tool \`${toolChoice.name}\`, once. An answer without that call is not accepted.`
}

function toTools(tools: readonly ToolDefinition[]): Anthropic.Messages.Tool[] {
  return tools.map((tool, index) => ({
    name: tool.name,
    description: tool.description,
    input_schema: { ...tool.inputSchema, type: 'object' },
    ...(index === tools.length - 1 ? { cache_control: CACHED } : {}),
  }))
}

function toMessages(messages: readonly ModelMessage[]): Anthropic.Messages.MessageParam[] {
  const cached = new Set(
    messages
      .map((message, index) => (message.role === 'user' ? index : -1))
      .filter((index) => index >= 0)
      .slice(-2),
  )
  return messages.flatMap((message, index) => {
    const content =
      message.role === 'user'
        ? toUserContent(message.content, cached.has(index))
        : toAssistantContent(message.content)
    return content.length === 0 ? [] : [{ role: message.role, content }]
  })
}

/**
 * The breakpoint goes on the last tool result where there is one: the results of a turn are its bulk, and
 * text after them is short.
 */
function toUserContent(blocks: readonly UserBlock[], cached: boolean): BlockParam[] {
  const kept = blocks.filter((block) => block.type !== 'text' || block.text.trim() !== '')
  const lastResult = kept.findLastIndex((block) => block.type === 'tool_result')
  const breakpoint = lastResult >= 0 ? lastResult : kept.length - 1
  return kept.map((block, index): BlockParam => {
    const cache = cached && index === breakpoint ? { cache_control: CACHED } : {}
    return block.type === 'text'
      ? { type: 'text', text: block.text.toWellFormed(), ...cache }
      : {
          type: 'tool_result',
          tool_use_id: block.tool_use_id,
          content: block.content.toWellFormed(),
          is_error: block.is_error,
          ...cache,
        }
  })
}

/**
 * Blank texts and unsigned thinking are refused by the API, so a turn that held some is sent without them. Signed thinking goes
 * back exactly as it came: newer models check it, and everything before it, against the signature.
 */
function toAssistantContent(blocks: Extract<ModelMessage, { role: 'assistant' }>['content']): BlockParam[] {
  return blocks.flatMap((block): BlockParam[] => {
    if (block.type === 'text') {
      return block.text.trim() === '' ? [] : [{ type: 'text', text: block.text.toWellFormed() }]
    }
    if (block.type === 'thinking') return block.signature === '' ? [] : [{ ...block }]
    if (block.type === 'tool_use') {
      return [
        { type: 'tool_use', id: block.id, name: block.name, input: block.input as Record<string, unknown> },
      ]
    }
    return [{ ...block }]
  })
}
