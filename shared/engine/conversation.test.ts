import { describe, expect, it } from 'vitest'
import type { ConversationMessage } from '../ports/store.ts'
import { buildConversation } from './conversation.ts'

const base = {
  tool_call_id: null,
  tool_name: null,
  is_error: false,
  blocks: null,
  attachments: [],
  step_number: 0,
}
const user = (content: string, fields: Partial<ConversationMessage> = {}): ConversationMessage => ({
  ...base,
  role: 'user',
  content,
  ...fields,
})
const assistant = (...blocks: unknown[]): ConversationMessage => ({
  ...base,
  role: 'assistant',
  content: '',
  blocks,
})
const result = (id: string, content = 'ok'): ConversationMessage => ({
  ...base,
  role: 'tool',
  content,
  tool_call_id: id,
})
const use = (id: string) => ({ type: 'tool_use', id, name: 'shell', input: {} })

describe('buildConversation', () => {
  it('begins with the request, its files and the notes', () => {
    const { messages } = buildConversation(
      [user('Do it', { attachments: [{ path: 'inputs/a.csv', size: 7 }] })],
      1,
      'likes tea',
    )
    expect(messages).toHaveLength(1)
    const texts = messages[0]?.content.map((block) => ('text' in block ? block.text : ''))
    expect(texts?.[0]).toBe('Do it')
    expect(texts?.[1]).toContain('inputs/a.csv (7 bytes)')
    expect(texts?.[2]).toContain('likes tea')
  })

  it('gives results in the order of the calls, whatever order they came in, texts after them', () => {
    const { messages } = buildConversation(
      [user('p'), assistant(use('a'), use('b')), result('b', '2'), result('a', '1'), user('and?')],
      5,
      null,
    )
    expect(messages[2]).toEqual({
      role: 'user',
      content: [
        { type: 'tool_result', tool_use_id: 'a', content: '1', is_error: false },
        { type: 'tool_result', tool_use_id: 'b', content: '2', is_error: false },
        { type: 'text', text: 'and?' },
      ],
    })
    expect(messages.map(({ role }) => role)).toEqual(['user', 'assistant', 'user'])
  })

  it('leaves out messages that are for the user only, and attempts at a plan', () => {
    const shown = { ...assistant(), blocks: null, content: 'hi there', tool_name: 'message' }
    const attempt = { ...assistant(use('p')), tool_name: 'submit_plan' }
    const { messages } = buildConversation(
      [user('p'), attempt, { ...result('p'), tool_name: 'submit_plan' }, shown],
      4,
      null,
    )
    expect(messages).toHaveLength(1)
  })

  it('cuts whole turns only, says so, and drops thinking behind the cut', () => {
    const stored = [
      user('p'),
      result('lost'),
      assistant({ type: 'thinking', thinking: 't', signature: 's' }, use('a')),
      result('a'),
      assistant(use('half')),
    ]
    const { messages, omitted } = buildConversation(stored, 40, null)
    expect(omitted).toBe(37)
    expect(JSON.stringify(messages[0])).toContain('37 earlier messages')
    expect(messages[1]).toEqual({ role: 'assistant', content: [use('a')] })
    expect(messages).toHaveLength(3)
  })
})
