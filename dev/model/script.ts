import type { ModelMessage } from '../../shared/ports/model.ts'

/** What the script looks at: nothing but the request, so that any process may ask any turn again and gets the same one. */
export interface ScriptRequest {
  messages: readonly ModelMessage[]
  tools: readonly { name: string }[]
}

export interface ScriptTurn {
  text: string
  /** At most one call a turn; without one the text is the final answer. */
  call?: { name: string; input: Record<string, unknown> }
}
