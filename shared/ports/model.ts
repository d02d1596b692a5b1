/** What the engine asks of a language model. Content blocks have the shape of Anthropic's Messages API. */
export interface TextBlock {
  type: 'text'
  text: string
}
export interface ThinkingBlock {
  type: 'thinking'
  thinking: string
  signature: string
}
export interface RedactedThinkingBlock {
  type: 'redacted_thinking'
  data: string
}
export interface ToolUseBlock {
  type: 'tool_use'
  id: string
  name: string
  input: unknown
}
export interface ToolResultBlock {
  type: 'tool_result'
  tool_use_id: string
  content: string
  is_error: boolean
}

export type AssistantBlock = TextBlock | ThinkingBlock | RedactedThinkingBlock | ToolUseBlock
export type UserBlock = TextBlock | ToolResultBlock

export type ModelMessage =
  | { role: 'user'; content: UserBlock[] }
  | { role: 'assistant'; content: AssistantBlock[] }

export interface ToolDefinition {
  name: string
  description: string
  /** JSON Schema of the input, `type: 'object'`. */
  inputSchema: Record<string, unknown>
}

export interface ModelRequest {
  system: string
  messages: ModelMessage[]
  tools: ToolDefinition[]
  /** A named tool is asked for, not forced (newer models refuse to be): a turn without the call is possible. */
  toolChoice: 'auto' | { name: string }
  maxTokens: number
}

export interface ModelTurn {
  blocks: AssistantBlock[]
  /** Anthropic's stop_reason; an unknown new word is passed on as it is. */
  stopReason: string
  usage: { inputTokens: number; outputTokens: number; cacheReadTokens: number; cacheWriteTokens: number }
  model: string
}

/**
 * - rate_limited, overloaded, unavailable (5xx, cut or silent stream, connection): worth trying again
 * - spend_cap, invalid_request, unauthorized: final
 * - aborted: our own signal
 */
export type ModelErrorKind =
  | 'rate_limited'
  | 'overloaded'
  | 'unavailable'
  | 'spend_cap'
  | 'invalid_request'
  | 'unauthorized'
  | 'aborted'

export class ModelError extends Error {
  readonly kind: ModelErrorKind
  readonly retryAfterSeconds: number | undefined
  constructor(
    kind: ModelErrorKind,
    message: string,
    options: { retryAfterSeconds?: number | undefined; cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause })
    this.name = 'ModelError'
    this.kind = kind
    this.retryAfterSeconds = options.retryAfterSeconds
  }
}

export interface ModelTurnOptions {
  /** Aborts the request; the turn then rejects with ModelError `aborted`. */
  signal: AbortSignal
  /** Called with each piece of answer text as it arrives. Must not throw. */
  onText: (delta: string) => void
}

/** Streams one assistant turn. Makes exactly one request: every retry is the engine's. Rejects with ModelError only. */
export interface Model {
  turn(request: ModelRequest, options: ModelTurnOptions): Promise<ModelTurn>
}
