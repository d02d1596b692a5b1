import { type ContentWithToolCallsResponse, type ErrorResponse, LLMock } from '@copilotkit/aimock'
import { modelSuite, type SuiteReply } from '../../ports/model.suite.ts'
import { ModelError, type ModelErrorKind } from '../../ports/model.ts'
import { createModel } from './model.ts'

const STATUS: Record<ModelErrorKind, number> = {
  rate_limited: 429,
  overloaded: 529,
  unavailable: 500,
  spend_cap: 402,
  invalid_request: 400,
  unauthorized: 401,
  aborted: 499,
}

modelSuite('anthropic over aimock', {
  async open(replies) {
    let call = 0
    const { promise: closing, resolve: close } = Promise.withResolvers<void>()
    const mock = new LLMock({ port: 0, chunkSize: 7 })
    mock.on(
      { predicate: () => true },
      async () => {
        const reply = replies[call++] ?? 'silence'
        if (reply === 'silence') await closing
        return toAimock(reply)
      },
      // A pause between events, so that an abort can come between two of them.
      { streamingProfile: { tps: 2000 } },
    )
    await mock.start()
    return {
      model: createModel({ apiKey: 'sk-test', baseUrl: mock.url, model: 'claude-sonnet-5-5' }),
      close: async () => {
        close()
        await mock.stop()
      },
    }
  },
})

type FixtureBlock = NonNullable<ContentWithToolCallsResponse['blocks']>[number]

function toAimock(reply: SuiteReply): ContentWithToolCallsResponse | ErrorResponse {
  if (reply === 'silence') return { error: { message: 'closing' }, status: 500 }
  if (reply instanceof ModelError) {
    return {
      error: { message: reply.message },
      status: STATUS[reply.kind],
      ...(reply.retryAfterSeconds === undefined ? {} : { retryAfter: reply.retryAfterSeconds }),
    }
  }
  const thinking = reply.blocks.find((block) => block.type === 'thinking')
  const redacted = reply.blocks.flatMap((block) => (block.type === 'redacted_thinking' ? [block.data] : []))
  return {
    blocks: reply.blocks.flatMap((block): FixtureBlock[] => {
      if (block.type === 'text') return [{ type: 'text', text: block.text }]
      if (block.type !== 'tool_use') return []
      return [{ type: 'toolCall', id: block.id, name: block.name, arguments: JSON.stringify(block.input) }]
    }),
    ...(thinking === undefined
      ? {}
      : { reasoning: thinking.thinking, reasoningSignature: thinking.signature }),
    ...(redacted.length === 0 ? {} : { redactedThinking: redacted }),
    ...(reply.stopReason === undefined ? {} : { finishReason: reply.stopReason }),
    usage: { input_tokens: reply.usage?.inputTokens ?? 0, output_tokens: reply.usage?.outputTokens ?? 0 },
  }
}
