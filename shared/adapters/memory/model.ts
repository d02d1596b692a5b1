import {
  type AssistantBlock,
  type Model,
  ModelError,
  type ModelRequest,
  type ModelTurn,
} from '../../ports/model.ts'

export interface MemoryTurn {
  blocks: AssistantBlock[]
  /** Default: `tool_use` when there is a tool call, else `end_turn`. */
  stopReason?: string
  usage?: Partial<ModelTurn['usage']>
  model?: string
}

/** What the model does next: a turn, a failure, or nothing at all until the caller aborts. */
export type MemoryReply = MemoryTurn | ModelError | 'silence'

export interface MemoryModel extends Model {
  /** Every request so far, oldest first. */
  readonly requests: readonly ModelRequest[]
}

/** Characters of one `onText` piece. */
const PIECE_CHARS = 16

/** A model whose turns are a function of the request and of its number (from 0). Same port suite as the real adapter. */
export function createMemoryModel(
  respond: (request: ModelRequest, call: number) => MemoryReply | Promise<MemoryReply>,
): MemoryModel {
  const requests: ModelRequest[] = []
  return {
    requests,
    async turn(request, { signal, onText }) {
      throwIfAborted(signal)
      requests.push(structuredClone(request))
      const reply = await Promise.race([respond(request, requests.length - 1), whenAborted(signal)])
      throwIfAborted(signal)
      if (reply instanceof ModelError) throw reply
      if (reply === 'silence') return await whenAborted(signal)
      for (const block of reply.blocks) {
        if (block.type !== 'text') continue
        const characters = [...block.text]
        for (let start = 0; start < characters.length; start += PIECE_CHARS) {
          // A macrotask between pieces lets an abort come in between, as it can between packets.
          await new Promise((resolve) => setImmediate(resolve))
          throwIfAborted(signal)
          onText(characters.slice(start, start + PIECE_CHARS).join(''))
        }
      }
      const callsTools = reply.blocks.some((block) => block.type === 'tool_use')
      return {
        blocks: structuredClone(reply.blocks),
        stopReason: reply.stopReason ?? (callsTools ? 'tool_use' : 'end_turn'),
        usage: { inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0, ...reply.usage },
        model: reply.model ?? 'memory',
      }
    },
  }
}

function throwIfAborted(signal: AbortSignal): void {
  if (signal.aborted) throw new ModelError('aborted', 'the turn was aborted')
}

function whenAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const fail = () => reject(new ModelError('aborted', 'the turn was aborted'))
    if (signal.aborted) fail()
    else signal.addEventListener('abort', fail, { once: true })
  })
}
