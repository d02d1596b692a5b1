import { afterEach, describe, expect, test } from 'vitest'
import {
  type AssistantBlock,
  type Model,
  ModelError,
  type ModelErrorKind,
  type ModelRequest,
  type ModelTurn,
} from './model.ts'

export type SuiteReply =
  | { blocks: AssistantBlock[]; stopReason?: string; usage?: Partial<ModelTurn['usage']> }
  | ModelError
  | 'silence'

export interface ModelHarness {
  /** A model that answers its n-th request with the n-th reply. */
  open(replies: SuiteReply[]): Promise<{ model: Model; close(): Promise<void> }>
}

const request: ModelRequest = {
  system: 'You are a test.',
  messages: [{ role: 'user', content: [{ type: 'text', text: 'Go on.' }] }],
  tools: [{ name: 'code', description: 'Runs code.', inputSchema: { type: 'object', properties: {} } }],
  toolChoice: 'auto',
  maxTokens: 1000,
}

/** What every Model promises (shared/ports/model.ts). Each adapter runs it against whatever stands for its server. */
export function modelSuite(name: string, harness: ModelHarness): void {
  describe(`model port: ${name}`, () => {
    const open: { close(): Promise<void> }[] = []
    afterEach(async () => {
      for (const one of open.splice(0)) await one.close()
    })

    async function start(...replies: SuiteReply[]) {
      const opened = await harness.open(replies)
      open.push(opened)
      const texts: string[] = []
      const controller = new AbortController()
      const turn = (
        changes: Partial<ModelRequest> = {},
        onText = (delta: string) => void texts.push(delta),
      ) => opened.model.turn({ ...request, ...changes }, { signal: controller.signal, onText })
      return { turn, texts, controller }
    }

    test('a text turn: pieces add up to the block', async () => {
      const text =
        'Zürich 👩‍🔬 — forty-two is the answer that was computed, and this sentence is longer than one piece.'
      const { turn, texts } = await start({ blocks: [{ type: 'text', text }] })
      const { blocks, stopReason } = await turn()
      expect(blocks).toEqual([{ type: 'text', text }])
      expect(stopReason).toBe('end_turn')
      expect(texts.length).toBeGreaterThan(1)
      expect(texts.join('')).toBe(text)
      expect(texts.every((piece) => piece.isWellFormed())).toBe(true)
    })

    test('parallel tool calls keep order, ids, names and inputs', async () => {
      const calls: AssistantBlock[] = [
        { type: 'text', text: 'Both at once.' },
        {
          type: 'tool_use',
          id: 'toolu_a',
          name: 'code',
          input: { language: 'python', code: 'print("é\\n")' },
        },
        {
          type: 'tool_use',
          id: 'toolu_b',
          name: 'shell',
          input: { command: 'ls', nested: { deep: [1, null, true] } },
        },
      ]
      const { turn } = await start({ blocks: calls })
      const { blocks, stopReason } = await turn()
      expect(blocks).toEqual(calls)
      expect(stopReason).toBe('tool_use')
    })

    test('a tool call without input has an empty object', async () => {
      const { turn } = await start({
        blocks: [{ type: 'tool_use', id: 'toolu_c', name: 'file_list', input: {} }],
      })
      expect((await turn()).blocks).toEqual([
        { type: 'tool_use', id: 'toolu_c', name: 'file_list', input: {} },
      ])
    })

    test('thinking blocks come back with their signatures and are not told as text', async () => {
      const blocks: AssistantBlock[] = [
        { type: 'redacted_thinking', data: 'b3BhcXVl' },
        { type: 'thinking', thinking: 'Let me see.', signature: 'c2lnbmVk' },
        { type: 'text', text: 'Seen.' },
      ]
      const { turn, texts } = await start({ blocks })
      expect((await turn()).blocks).toEqual(blocks)
      expect(texts.join('')).toBe('Seen.')
    })

    test('usage and an unknown stop reason are passed on', async () => {
      const { turn } = await start({
        blocks: [{ type: 'text', text: 'x' }],
        stopReason: 'a_word_of_next_year',
        usage: { inputTokens: 120, outputTokens: 7 },
      })
      const done = await turn()
      expect(done.stopReason).toBe('a_word_of_next_year')
      expect(done.usage).toMatchObject({ inputTokens: 120, outputTokens: 7 })
    })

    test('makes one request a turn, so the second turn gets the second reply', async () => {
      const { turn } = await start(new ModelError('unavailable', 'first'), {
        blocks: [{ type: 'text', text: 'second' }],
      })
      await expect(turn()).rejects.toMatchObject({ name: 'ModelError', kind: 'unavailable' })
      expect((await turn()).blocks).toEqual([{ type: 'text', text: 'second' }])
    })

    const kinds: ModelErrorKind[] = [
      'rate_limited',
      'overloaded',
      'unavailable',
      'spend_cap',
      'invalid_request',
      'unauthorized',
    ]
    test.each(kinds)('fails as %s', async (kind) => {
      const { turn, texts } = await start(new ModelError(kind, 'said the server', { retryAfterSeconds: 7 }))
      const error = await turn().catch((thrown: unknown) => thrown)
      expect(error).toBeInstanceOf(ModelError)
      expect(error).toMatchObject({ kind })
      if (kind === 'rate_limited') expect(error).toMatchObject({ retryAfterSeconds: 7 })
      expect(texts).toEqual([])
    })

    test('aborted before it starts', async () => {
      const { turn, controller } = await start({ blocks: [{ type: 'text', text: 'never' }] })
      controller.abort()
      await expect(turn()).rejects.toMatchObject({ name: 'ModelError', kind: 'aborted' })
    })

    test('aborted while the model is silent', async () => {
      const { turn, controller } = await start('silence')
      setTimeout(() => controller.abort(), 30)
      await expect(turn()).rejects.toMatchObject({ name: 'ModelError', kind: 'aborted' })
    })

    test('aborted in the middle of the text', async () => {
      const { turn, controller } = await start({
        blocks: [{ type: 'text', text: 'piece by piece '.repeat(200) }],
      })
      let told = 0
      const running = turn({}, () => {
        told += 1
        if (told === 3) controller.abort()
      })
      await expect(running).rejects.toMatchObject({ name: 'ModelError', kind: 'aborted' })
      expect(told).toBeLessThan(100)
    })
  })
}
