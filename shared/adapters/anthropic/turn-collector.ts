import type Anthropic from '@anthropic-ai/sdk'
import { storableText } from '../../core/storable-json.ts'
import { type AssistantBlock, ModelError, type ModelTurn } from '../../ports/model.ts'
import { readToolInput } from './read-tool-input.ts'

/** A turn has a handful of blocks; each costs rows and bytes later. */
const MAX_BLOCKS = 256

type Draft =
  | { type: 'text'; text: string }
  | { type: 'thinking'; thinking: string; signature: string }
  | { type: 'redacted_thinking'; data: string }
  | { type: 'tool_use'; id: string; name: string; json: string }
  | { type: 'ignored' }

/** Builds a ModelTurn from the events of one stream. What comes over the wire is checked, not believed. */
export class TurnCollector {
  readonly #drafts = new Map<number, Draft>()
  readonly #onText: (delta: string) => void
  readonly #usage = { inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0 }
  #model: string
  #stopReason: string | undefined
  #heldBack = ''

  constructor(model: string, onText: (delta: string) => void) {
    this.#model = model
    this.#onText = onText
  }

  /** Takes one event; true after `message_stop`. Unknown events and deltas are passed over, as the API asks of clients. */
  take(event: Anthropic.Messages.RawMessageStreamEvent): boolean {
    switch (event?.type) {
      case 'message_start':
        if (typeof event.message?.model === 'string') this.#model = event.message.model
        this.#count(event.message?.usage)
        return false
      case 'content_block_start':
        this.#open(event.index, event.content_block)
        return false
      case 'content_block_delta':
        this.#append(event.index, event.delta)
        return false
      case 'message_delta':
        if (typeof event.delta?.stop_reason === 'string') this.#stopReason = event.delta.stop_reason
        this.#count(event.usage)
        return false
      case 'message_stop':
        return true
      default:
        return false
    }
  }

  finish(): ModelTurn {
    if (this.#stopReason === undefined)
      throw new ModelError('unavailable', 'model API: the answer has no stop reason')
    const drafts = [...this.#drafts.entries()].sort(([a], [b]) => a - b).map(([, draft]) => draft)
    const ids = new Set<string>()
    const blocks = drafts.flatMap((draft, index) => {
      const cutOff = this.#stopReason === 'max_tokens' && index === drafts.length - 1
      return finishBlock(draft, cutOff, ids)
    })
    return { blocks, stopReason: this.#stopReason, usage: { ...this.#usage }, model: this.#model }
  }

  #open(index: number, block: Anthropic.Messages.ContentBlock): void {
    if (!Number.isInteger(index) || this.#drafts.has(index) || typeof block?.type !== 'string') {
      throw new ModelError('unavailable', 'model API: the answer has a malformed content block')
    }
    if (this.#drafts.size >= MAX_BLOCKS) {
      throw new ModelError('unavailable', `model API: the answer has more than ${MAX_BLOCKS} blocks`)
    }
    this.#heldBack = ''
    this.#drafts.set(index, openDraft(block))
    if (block.type === 'text') this.#say(text(block.text))
  }

  #append(index: number, delta: Anthropic.Messages.RawContentBlockDelta): void {
    const draft = this.#drafts.get(index)
    if (draft === undefined)
      throw new ModelError('unavailable', 'model API: a delta came before its content block')
    if (draft.type === 'text' && delta?.type === 'text_delta') {
      draft.text += text(delta.text)
      this.#say(text(delta.text))
    } else if (draft.type === 'thinking' && delta?.type === 'thinking_delta')
      draft.thinking += text(delta.thinking)
    else if (draft.type === 'thinking' && delta?.type === 'signature_delta')
      draft.signature += text(delta.signature)
    else if (draft.type === 'tool_use' && delta?.type === 'input_json_delta')
      draft.json += text(delta.partial_json)
  }

  /** Half of a surrogate pair at the end of a delta waits for the other half, else readers would get two broken characters. */
  #say(delta: string): void {
    const whole = this.#heldBack + delta
    const splits = /[\uD800-\uDBFF]$/.test(whole)
    this.#heldBack = splits ? whole.slice(-1) : ''
    const ready = storableText(splits ? whole.slice(0, -1) : whole)
    if (ready !== '') this.#onText(ready)
  }

  /** Counts in the stream are totals so far; a null or missing one says nothing. */
  #count(usage: Partial<Anthropic.Messages.Usage | Anthropic.Messages.MessageDeltaUsage> | undefined): void {
    if (usage === undefined || usage === null) return
    this.#usage.inputTokens = tokens(usage.input_tokens, this.#usage.inputTokens)
    this.#usage.outputTokens = tokens(usage.output_tokens, this.#usage.outputTokens)
    this.#usage.cacheReadTokens = tokens(usage.cache_read_input_tokens, this.#usage.cacheReadTokens)
    this.#usage.cacheWriteTokens = tokens(usage.cache_creation_input_tokens, this.#usage.cacheWriteTokens)
  }
}

function openDraft(block: Anthropic.Messages.ContentBlock): Draft {
  if (block.type === 'text') return { type: 'text', text: text(block.text) }
  if (block.type === 'thinking')
    return { type: 'thinking', thinking: text(block.thinking), signature: text(block.signature) }
  if (block.type === 'redacted_thinking') return { type: 'redacted_thinking', data: text(block.data) }
  if (block.type === 'tool_use')
    return { type: 'tool_use', id: text(block.id), name: text(block.name), json: '' }
  // Blocks of tools that run at the provider: none is offered, so none is expected, and no port type exists for them.
  return { type: 'ignored' }
}

function finishBlock(draft: Draft, cutOff: boolean, ids: Set<string>): AssistantBlock[] {
  switch (draft.type) {
    case 'text':
      return draft.text === '' ? [] : [{ type: 'text', text: storableText(draft.text) }]
    case 'thinking':
      return [{ type: 'thinking', thinking: draft.thinking, signature: draft.signature }]
    case 'redacted_thinking':
      return [draft]
    case 'tool_use':
      return [
        {
          type: 'tool_use',
          id: uniqueId(draft.id, ids),
          name: toolName(draft.name),
          input: readToolInput(draft.json, cutOff),
        },
      ]
    default:
      return []
  }
}

/** The API refuses a conversation in which an id is empty, oddly spelt or there twice; ids only pair calls with results. */
function uniqueId(id: string, ids: Set<string>): string {
  const usable = /^[\w-]{1,64}$/.test(id) && !ids.has(id) ? id : `toolu_${crypto.randomUUID()}`
  ids.add(usable)
  return usable
}

function toolName(name: string): string {
  return name.replace(/[^\w-]/g, '_').slice(0, 64) || 'unnamed'
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function tokens(value: unknown, otherwise: number): number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : otherwise
}
