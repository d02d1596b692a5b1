import { randomUUID } from 'node:crypto'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Provider {
  url: string
  /** The next turn begins, sends pings and never ends; resolves when it has begun. */
  hangNext(): Promise<void>
  close(): Promise<void>
}

const PING_MS = 500

/**
 * As much of Anthropic's Messages API as the step function needs: it plans, then calls the tool `message` until the conversation has so
 * many of its turns, then says that it is done. Answers at once.
 */
export async function startProvider(plan: unknown, turns: number): Promise<Provider> {
  let hanging: (() => void) | undefined
  const server = createServer((req, res) => {
    let body = ''
    req.setEncoding('utf8')
    req.on('data', (chunk: string) => {
      body += chunk
    })
    req.on('end', () => {
      res.writeHead(200, { 'content-type': 'text/event-stream' })
      send(res, { type: 'message_start', message: MESSAGE })
      if (hanging !== undefined) {
        hanging()
        hanging = undefined
        const pings = setInterval(() => send(res, { type: 'ping' }), PING_MS)
        res.on('close', () => clearInterval(pings))
        return
      }
      const { messages, tools } = JSON.parse(body) as {
        messages: { role: string }[]
        tools: { name: string }[]
      }
      const spoken = messages.filter(({ role }) => role === 'assistant').length
      const tool = tools.some(({ name }) => name === 'submit_plan') ? 'submit_plan' : 'message'
      if (tool === 'message' && spoken >= turns) answer(res, { text: 'Done.' })
      else answer(res, { tool, input: tool === 'message' ? { message: `turn ${spoken}` } : plan })
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    hangNext: () =>
      new Promise((resolve) => {
        hanging = resolve
      }),
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

const MESSAGE = {
  id: 'msg_bench',
  type: 'message',
  role: 'assistant',
  model: 'bench',
  content: [],
  stop_reason: null,
  stop_sequence: null,
  usage: { input_tokens: 100, output_tokens: 1 },
}

function send(res: ServerResponse, event: { type: string; [key: string]: unknown }): void {
  res.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
}

function answer(res: ServerResponse, turn: { text: string } | { tool: string; input: unknown }): void {
  const isText = 'text' in turn
  const block = isText
    ? { type: 'text', text: '' }
    : { type: 'tool_use', id: `toolu_${randomUUID()}`, name: turn.tool, input: {} }
  const delta = isText
    ? { type: 'text_delta', text: turn.text }
    : { type: 'input_json_delta', partial_json: JSON.stringify(turn.input) }
  send(res, { type: 'content_block_start', index: 0, content_block: block })
  send(res, { type: 'content_block_delta', index: 0, delta })
  send(res, { type: 'content_block_stop', index: 0 })
  const stop_reason = isText ? 'end_turn' : 'tool_use'
  send(res, {
    type: 'message_delta',
    delta: { stop_reason, stop_sequence: null },
    usage: { output_tokens: 20 },
  })
  send(res, { type: 'message_stop' })
  res.end()
}
