import { randomUUID } from 'node:crypto'
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export type Block =
  | { type: 'text'; text: string }
  | { type: 'thinking'; thinking: string; signature?: string }
  /** `json` is sent as it is, for arguments that are no JSON; `whole` sends the input with the block's start, as some gateways do. */
  | { type: 'tool_use'; id?: string; name: string; input?: unknown; json?: string; whole?: boolean }

export interface ProviderRequest {
  headers: IncomingHttpHeaders
  bytes: number
  body: {
    model: string
    max_tokens: number
    system?: unknown
    tools?: { name: string }[]
    messages: { role: string; content: string | ({ type: string } & Record<string, unknown>)[] }[]
  }
}

/** What one request is answered: a turn, an HTTP error, or whatever a function makes of the connection. */
export type Reply =
  | { blocks: Block[]; stop?: string; usage?: Record<string, number>; overload?: 'after blocks' }
  | { status: number; error: { type: string; message: string }; headers?: Record<string, string> }
  | ((request: ProviderRequest, res: ServerResponse) => void | Promise<void>)

export type Script = (request: ProviderRequest, turn: number) => Reply

export const say = (text: string): Block => ({ type: 'text', text })
export const call = (name: string, input: unknown, id?: string): Block => ({
  type: 'tool_use',
  name,
  input,
  ...(id === undefined ? {} : { id }),
})
export const shell = (command: string): Block => call('shell', { command })

export const ONE_PHASE = {
  goal: 'Do what was asked',
  phases: [
    {
      name: 'Work',
      description: 'All of it',
      required_capabilities: [],
      estimated_credits: 10,
      dependencies: [],
      expected_outputs: [],
    },
  ],
  total_estimated_duration_minutes: 1,
  risks: [],
}

/**
 * A server of the Messages API, streaming as the real one does, for whole stacks (`ANTHROPIC_BASE_URL`). Which script a request follows
 * is told by a word in the run's prompt, so that many runs share one stack; the plan is one phase unless the script says otherwise.
 */
export async function startProvider(port = 0) {
  const scripts = new Map<
    string,
    { script: Script; turns: number; requests: ProviderRequest[]; plan: Script }
  >()
  const server = createServer((req, res) => {
    void answer(req, res).catch((error: unknown) => {
      res.destroy(error instanceof Error ? error : new Error(String(error)))
    })
  })
  async function answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of req) chunks.push(chunk as Buffer)
    const text = Buffer.concat(chunks).toString()
    const request: ProviderRequest = { headers: req.headers, bytes: text.length, body: JSON.parse(text) }
    const first = JSON.stringify(request.body.messages[0])
    const known = [...scripts].find(([word]) => first.includes(word))?.[1]
    if (known === undefined) throw new Error(`no script for ${first.slice(0, 200)}`)
    const planning = request.body.tools?.some(({ name }) => name === 'submit_plan') === true
    if (!planning) known.requests.push(request)
    const reply = planning ? known.plan(request, 0) : known.script(request, known.turns++)
    if (typeof reply === 'function') await reply(request, res)
    else if ('status' in reply) {
      res.writeHead(reply.status, { 'content-type': 'application/json', ...reply.headers })
      res.end(JSON.stringify({ type: 'error', error: reply.error, request_id: `req_${randomUUID()}` }))
    } else stream(res, reply)
  }
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    /** Runs whose prompt contains `word` get these replies, one after the other, and then the last one for ever. */
    play(word: string, replies: Reply[] | Script, plan: Script = () => PLANNED): void {
      const script = Array.isArray(replies)
        ? (_: ProviderRequest, turn: number) => replies[Math.min(turn, replies.length - 1)] ?? DONE
        : replies
      scripts.set(word, { script, turns: 0, requests: [], plan })
    },
    /** Requests of a run's turns, without those for its plan. */
    requests: (word: string): ProviderRequest[] => scripts.get(word)?.requests ?? [],
    async close(): Promise<void> {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
export type Provider = Awaited<ReturnType<typeof startProvider>>

const DONE: Reply = { blocks: [say('Done.')] }
const PLANNED: Reply = { blocks: [call('submit_plan', ONE_PHASE)] }

export function sendEvent(res: ServerResponse, event: { type: string; [key: string]: unknown }): void {
  res.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
}

/** Streams a turn; `overload` ends it with an error event in the 200 stream instead of its stop. */
export function stream(res: ServerResponse, turn: Extract<Reply, { blocks: Block[] }>): void {
  res.writeHead(200, { 'content-type': 'text/event-stream' })
  sendEvent(res, {
    type: 'message_start',
    message: {
      id: `msg_${randomUUID()}`,
      type: 'message',
      role: 'assistant',
      model: 'edge',
      content: [],
      stop_reason: null,
      stop_sequence: null,
      usage: { input_tokens: 100, output_tokens: 1, ...turn.usage },
    },
  })
  for (const [index, block] of turn.blocks.entries()) {
    sendEvent(res, { type: 'content_block_start', index, content_block: opened(block) })
    for (const delta of deltas(block)) sendEvent(res, { type: 'content_block_delta', index, delta })
    sendEvent(res, { type: 'content_block_stop', index })
  }
  if (turn.overload !== undefined) {
    sendEvent(res, { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } })
    res.end()
    return
  }
  const calls = turn.blocks.some(({ type }) => type === 'tool_use')
  sendEvent(res, {
    type: 'message_delta',
    delta: { stop_reason: turn.stop ?? (calls ? 'tool_use' : 'end_turn'), stop_sequence: null },
    usage: { output_tokens: 20, ...turn.usage },
  })
  sendEvent(res, { type: 'message_stop' })
  res.end()
}

function opened(block: Block): object {
  switch (block.type) {
    case 'text':
      return { type: 'text', text: '' }
    case 'thinking':
      return { type: 'thinking', thinking: '', signature: '' }
    case 'tool_use':
      return {
        type: 'tool_use',
        id: block.id ?? `toolu_${randomUUID()}`,
        name: block.name,
        input: block.whole === true ? block.input : {},
      }
  }
}

function deltas(block: Block): object[] {
  switch (block.type) {
    case 'text':
      return [{ type: 'text_delta', text: block.text }]
    case 'thinking':
      return [
        { type: 'thinking_delta', thinking: block.thinking },
        { type: 'signature_delta', signature: block.signature ?? 'c2lnbmVk' },
      ]
    case 'tool_use':
      return block.whole === true
        ? []
        : [{ type: 'input_json_delta', partial_json: block.json ?? JSON.stringify(block.input ?? {}) }]
  }
}
