import { jsonBytes } from './json-bytes.ts'
import type { Database, Message, RunTables } from './tables.ts'

export interface MessageFields {
  id?: string | null
  role: 'user' | 'assistant' | 'tool'
  content: string
  tool_call_id?: string | null
  tool_name?: string | null
  is_error?: boolean
  blocks?: unknown[] | null
  attachments?: Record<string, unknown>[]
}

/** private.add_messages: a conversation is in order of steps, and of writing within one. */
export function addMessages(
  db: Database,
  { run, messages }: RunTables,
  at: { stepNumber: number; stepId: string | null },
  added: readonly MessageFields[],
): void {
  for (const { id, role, content, tool_call_id, tool_name, is_error, blocks, attachments } of added) {
    const message: Message = {
      id: id ?? db.newId(),
      step_id: at.stepId,
      step_number: at.stepNumber,
      role,
      content,
      tool_call_id: tool_call_id ?? null,
      tool_name: tool_name ?? null,
      attachments: attachments ?? [],
      metadata: { ...(is_error && { is_error: true as const }), ...(Array.isArray(blocks) && { blocks }) },
      created_at: db.now(),
      bytes: Buffer.byteLength(content) + (Array.isArray(blocks) ? jsonBytes(blocks) : 0),
    }
    let place = messages.length
    while (place > 0 && (messages[place - 1]?.step_number ?? 0) > at.stepNumber) place -= 1
    messages.splice(place, 0, message)
  }
  run.message_count += added.length
}
