import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { type ChatCompletionRequest, createServer } from '@copilotkit/aimock'
import type { ModelMessage } from '../../shared/ports/model.ts'
import { respond as script } from './respond.ts'
import type { ScriptRequest, ScriptTurn } from './script.ts'

/** Characters of one streamed piece. Programs are long and are skimmed, answers are short and are read. */
const CHARS = { call: 64, answer: 6 }

/** Requests kept by aimock's journal; nobody reads it, and each is a whole conversation. */
const JOURNAL_ENTRIES = 5

export interface ScriptedModel {
  /** For ANTHROPIC_BASE_URL. Any API key is accepted. */
  url: string
  /** Answers that were sent to their last byte. */
  answered(): number
  close(): Promise<void>
}

/**
 * Anthropic's Messages API on loopback with the script behind it.
 * `port`: default a free one. `tokensPerSecond`: pieces a second, default 100 (the demonstration streams for about 6 s);
 * Infinity for tests. `respond`: another script.
 */
export async function startScriptedModel(
  options: { port?: number; tokensPerSecond?: number; respond?: (request: ScriptRequest) => ScriptTurn } = {},
): Promise<ScriptedModel> {
  const { port = 0, tokensPerSecond = 100, respond = script } = options
  const paced = Number.isFinite(tokensPerSecond) && tokensPerSecond > 0
  const pace = paced ? { streamingProfile: { ttft: 80, tps: tokensPerSecond } } : {}
  const isAnswer = (request: ChatCompletionRequest) => respond(toScriptRequest(request)).call === undefined
  const response = (request: ChatCompletionRequest) => toReply(request, respond(toScriptRequest(request)))
  // aimock's LLMock without its `stop`, which waits for streams to end by themselves.
  const { server, url } = await createServer(
    [
      { match: { predicate: isAnswer }, response, chunkSize: CHARS.answer, ...pace },
      { match: { predicate: () => true }, response, chunkSize: CHARS.call, ...pace },
    ],
    { host: '127.0.0.1', port, strict: true, journalMaxEntries: JOURNAL_ENTRIES },
  )
  let answered = 0
  // `finish` comes only for an answer that was written whole; one whose connection broke before ends with `close` alone
  server.on('request', (_, response) => response.once('finish', () => (answered += 1)))
  return {
    url,
    answered: () => answered,
    async close() {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}

/** aimock hands requests on in OpenAI's shape: results are messages of their own and have lost `is_error`. */
export function toScriptRequest({ messages, tools = [] }: ChatCompletionRequest): ScriptRequest {
  return {
    tools: tools.map((tool) => ({ name: tool.function.name })),
    messages: messages.flatMap((message): ModelMessage[] => {
      const text = typeof message.content === 'string' ? message.content : ''
      if (message.role === 'user') return [{ role: 'user', content: [{ type: 'text', text }] }]
      if (message.role === 'tool') {
        const tool_use_id = message.tool_call_id ?? ''
        return [
          { role: 'user', content: [{ type: 'tool_result', tool_use_id, content: text, is_error: false }] },
        ]
      }
      if (message.role !== 'assistant') return []
      const calls = (message.tool_calls ?? []).map((call) => {
        const input: unknown = JSON.parse(call.function.arguments)
        return { type: 'tool_use' as const, id: call.id, name: call.function.name, input }
      })
      return [
        { role: 'assistant', content: [...(text === '' ? [] : [{ type: 'text' as const, text }]), ...calls] },
      ]
    }),
  }
}

function toReply(request: ChatCompletionRequest, { text, call }: ScriptTurn) {
  const conversation = JSON.stringify(request.messages)
  const input = call === undefined ? '' : JSON.stringify(call.input)
  // About four characters a token: an estimate, so that credits and token counts of the demonstration are not all zero.
  const usage = {
    input_tokens: Math.ceil(conversation.length / 4),
    output_tokens: Math.ceil((text.length + input.length) / 4),
  }
  if (call === undefined) return { content: text, usage }
  // The same request gets the same id, and no two turns of one conversation share one.
  const id = `toolu_${createHash('sha256').update(conversation).digest('hex').slice(0, 24)}`
  const toolCalls = [{ id, name: call.name, arguments: input }]
  return text === '' ? { toolCalls, usage } : { content: text, toolCalls, usage }
}
