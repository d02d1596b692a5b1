import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { invalidToolInput } from '../../core/tool-input.ts'
import { ModelError, type ModelErrorKind, type ModelRequest } from '../../ports/model.ts'
import { type AnthropicModelOptions, createModel } from './model.ts'

/** What aimock cannot do: exact bytes, cuts, silences, cache counts and headers, on a real socket. */
type Handler = (response: ServerResponse, body: Record<string, unknown>, request: IncomingMessage) => void

const KEY = 'sk-ant-secret-of-the-test'
const opened: { close(): void }[] = []
afterEach(() => {
  for (const one of opened.splice(0)) one.close()
})

async function serve(handler: Handler, options: Partial<AnthropicModelOptions> = {}) {
  let requests = 0
  const server = createServer((request, response) => {
    requests += 1
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => handler(response, JSON.parse(Buffer.concat(chunks).toString()), request))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  opened.push({
    close: () => {
      server.closeAllConnections()
      server.close()
    },
  })
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const model = createModel({ apiKey: KEY, baseUrl, model: 'claude-sonnet-5-5', ...options })
  const texts: string[] = []
  const controller = new AbortController()
  const turn = (changes: Partial<ModelRequest> = {}) =>
    model.turn(
      { ...REQUEST, ...changes },
      { signal: controller.signal, onText: (delta) => texts.push(delta) },
    )
  return { turn, texts, controller, requests: () => requests, server }
}

const REQUEST: ModelRequest = {
  system: 'You are a test.',
  messages: [{ role: 'user', content: [{ type: 'text', text: 'Go.' }] }],
  tools: [
    { name: 'code', description: 'Runs code.', inputSchema: { type: 'object' } },
    { name: 'shell', description: 'Runs a command.', inputSchema: { type: 'object' } },
  ],
  toolChoice: 'auto',
  maxTokens: 1000,
}

const event = (data: Record<string, unknown>) => `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`
const start = (usage: object = { input_tokens: 10, output_tokens: 1 }) =>
  event({
    type: 'message_start',
    message: { id: 'msg_1', type: 'message', role: 'assistant', model: 'served-model', usage },
  })
const block = (index: number, content_block: object, ...deltas: object[]) =>
  event({ type: 'content_block_start', index, content_block }) +
  deltas.map((delta) => event({ type: 'content_block_delta', index, delta })).join('') +
  event({ type: 'content_block_stop', index })
const text = (index: number, ...pieces: string[]) =>
  block(index, { type: 'text', text: '' }, ...pieces.map((piece) => ({ type: 'text_delta', text: piece })))
const tool = (index: number, id: string, name: string, ...json: string[]) =>
  block(
    index,
    { type: 'tool_use', id, name, input: {} },
    ...json.map((partial_json) => ({ type: 'input_json_delta', partial_json })),
  )
const stop = (stop_reason = 'end_turn', usage: object = { output_tokens: 5 }) =>
  event({ type: 'message_delta', delta: { stop_reason, stop_sequence: null }, usage }) +
  event({ type: 'message_stop' })

function stream(response: ServerResponse) {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  return response
}

const failure = async (turn: Promise<unknown>): Promise<ModelError> => {
  const error = await turn.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  expect(error).toBeInstanceOf(ModelError)
  return error as ModelError
}

describe('failures by status', () => {
  const cases: [
    string,
    number,
    Record<string, string>,
    object | string,
    ModelErrorKind,
    number | undefined,
  ][] = [
    [
      '429 with seconds',
      429,
      { 'retry-after': '17' },
      { type: 'rate_limit_error', message: 'slow down' },
      'rate_limited',
      17,
    ],
    [
      '429 with a broken header',
      429,
      { 'retry-after': 'soon' },
      { type: 'rate_limit_error', message: 'x' },
      'rate_limited',
      undefined,
    ],
    [
      '429 without header',
      429,
      {},
      { type: 'rate_limit_error', message: 'too many requests' },
      'rate_limited',
      undefined,
    ],
    [
      '429, limit of tokens, with header',
      429,
      { 'retry-after': '3' },
      { message: 'exceeds your usage limit of tokens per minute' },
      'rate_limited',
      3,
    ],
    [
      '429, spend cap',
      429,
      {},
      { type: 'rate_limit_error', message: 'You have reached your specified API usage limits.' },
      'spend_cap',
      undefined,
    ],
    [
      '429, monthly spend',
      429,
      {},
      { message: 'This would exceed the monthly spend limit of your workspace' },
      'spend_cap',
      undefined,
    ],
    [
      '400, no credit',
      400,
      {},
      { type: 'invalid_request_error', message: 'Your credit balance is too low to access the API' },
      'spend_cap',
      undefined,
    ],
    ['402', 402, {}, { type: 'billing_error', message: 'pay' }, 'spend_cap', undefined],
    ['529', 529, {}, { type: 'overloaded_error', message: 'Overloaded' }, 'overloaded', undefined],
    [
      '503 that says overloaded',
      503,
      { 'retry-after': '2' },
      { type: 'overloaded_error', message: 'Overloaded' },
      'overloaded',
      2,
    ],
    ['500', 500, {}, { type: 'api_error', message: 'oops' }, 'unavailable', undefined],
    ['502 with HTML', 502, {}, '<html>bad gateway</html>', 'unavailable', undefined],
    ['504', 504, {}, { type: 'timeout_error', message: 'late' }, 'unavailable', undefined],
    ['408', 408, {}, { message: 'late' }, 'unavailable', undefined],
    [
      '400',
      400,
      {},
      { type: 'invalid_request_error', message: 'messages: bad' },
      'invalid_request',
      undefined,
    ],
    ['404', 404, {}, { type: 'not_found_error', message: 'model: nope' }, 'invalid_request', undefined],
    ['413', 413, {}, { type: 'request_too_large', message: 'big' }, 'invalid_request', undefined],
    [
      '401',
      401,
      {},
      { type: 'authentication_error', message: 'invalid x-api-key' },
      'unauthorized',
      undefined,
    ],
    ['403', 403, {}, { type: 'permission_error', message: 'no' }, 'unauthorized', undefined],
    ['307', 307, { location: 'http://127.0.0.1:1/v1/messages' }, '', 'unavailable', undefined],
  ]
  test.each(cases)('%s', async (_name, status, headers, error, kind, seconds) => {
    const { turn, requests } = await serve((response) => {
      response.writeHead(status, { 'content-type': 'application/json', ...headers })
      response.end(typeof error === 'string' ? error : JSON.stringify({ type: 'error', error }))
    })
    const failed = await failure(turn())
    expect(failed.kind).toBe(kind)
    expect(failed.retryAfterSeconds).toBe(seconds)
    expect(requests()).toBe(1)
  })

  test('Retry-After as a date', async () => {
    const { turn } = await serve((response) => {
      response.writeHead(429, { 'retry-after': new Date(Date.now() + 30_000).toUTCString() })
      response.end('{}')
    })
    const { retryAfterSeconds } = await failure(turn())
    expect(retryAfterSeconds).toBeGreaterThan(27)
    expect(retryAfterSeconds).toBeLessThanOrEqual(30)
  })

  test('the key is never in an error', async () => {
    const { turn } = await serve((response) => {
      response.writeHead(401)
      response.end(JSON.stringify({ error: { type: 'authentication_error', message: `bad key ${KEY}` } }))
    })
    const failed = await failure(turn())
    expect(failed.message).toContain('bad key [key]')
    expect(JSON.stringify(failed) + String(failed.stack) + String(failed.cause)).not.toContain(KEY)
  })

  test('nobody listens', async () => {
    const { turn, server } = await serve(() => {})
    await new Promise((resolve) => server.close(resolve))
    const failed = await failure(turn())
    expect(failed).toMatchObject({ kind: 'unavailable' })
    expect(failed.message).toContain('ECONNREFUSED')
  })
})

describe('failures after the 200', () => {
  const types: [string, ModelErrorKind][] = [
    ['overloaded_error', 'overloaded'],
    ['rate_limit_error', 'rate_limited'],
    ['api_error', 'unavailable'],
    ['a_word_of_next_year', 'unavailable'],
    ['invalid_request_error', 'invalid_request'],
    ['authentication_error', 'unauthorized'],
    ['billing_error', 'spend_cap'],
  ]
  test.each(types)('error event %s', async (type, kind) => {
    const { turn, texts } = await serve((response) => {
      stream(response).end(
        start() + text(0, 'Half') + event({ type: 'error', error: { type, message: 'in the middle' } }),
      )
    })
    expect(await failure(turn())).toMatchObject({ kind })
    expect(texts).toEqual(['Half'])
  })

  const whole =
    start() + text(0, 'Hello ', 'wörld 👋') + tool(1, 'toolu_1', 'code', '{"a":', '1}') + stop('tool_use')
  const bytes = Buffer.from(whole)

  test.each(['torn', 'closed politely'])(
    'a stream %s after k bytes is never a turn',
    { timeout: 120_000 },
    async (how) => {
      let cut = 0
      const { turn, texts } = await serve((response) => {
        stream(response).write(bytes.subarray(0, cut), () => {
          if (how === 'torn') response.socket?.destroy()
          else response.end()
        })
      })
      // The last 2 bytes are the blank line that ends message_stop; every offset before it is a cut.
      for (cut = 1; cut < bytes.length - 1; cut += process.env['TEST_FULL'] === '1' ? 1 : 13) {
        texts.length = 0
        expect(await failure(turn()), `cut at ${cut}`).toMatchObject({ kind: 'unavailable' })
        expect('Hello wörld 👋'.startsWith(texts.join(''))).toBe(true)
      }
      expect(texts.join('')).toBe('Hello wörld 👋')
      cut = bytes.length
      if (how === 'closed politely') expect((await turn()).blocks).toHaveLength(2)
    },
  )

  const broken: [string, string][] = [
    ['no JSON', `${start()}event: content_block_start\ndata: {"type":\n\n`],
    [
      'a delta without its block',
      start() + event({ type: 'content_block_delta', index: 4, delta: { type: 'text_delta', text: 'x' } }),
    ],
    ['a block twice', start() + text(0, 'a') + text(0, 'b') + stop()],
    ['no stop reason', start() + text(0, 'a') + event({ type: 'message_stop' })],
    ['an HTML page', '<html><body>Sign in to the hotel network</body></html>'],
    [
      'too many blocks',
      start() + Array.from({ length: 300 }, (_, index) => text(index, 'x')).join('') + stop(),
    ],
  ]
  test.each(broken)('malformed stream: %s', async (_name, sent) => {
    const { turn } = await serve((response) => stream(response).end(sent))
    expect(await failure(turn())).toMatchObject({ kind: 'unavailable' })
  })

  test('an endless answer is cut off at the byte limit', async () => {
    const { turn, server } = await serve(
      (response) => {
        stream(response).write(
          start() +
            event({ type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } }),
        )
        const more = () => {
          if (response.destroyed) return
          response.write(
            event({
              type: 'content_block_delta',
              index: 0,
              delta: { type: 'text_delta', text: 'x'.repeat(1000) },
            }),
            more,
          )
        }
        more()
      },
      { maxResponseBytes: 100_000 },
    )
    const failed = await failure(turn())
    expect(failed).toMatchObject({ kind: 'unavailable' })
    expect(failed.message).toContain('100000 bytes')
    expect(server.listening).toBe(true)
  })

  test('one line without end is cut off too', async () => {
    const { turn } = await serve(
      (response) => {
        stream(response)
        const more = () => void (response.destroyed || response.write('y'.repeat(10_000), more))
        more()
      },
      { maxResponseBytes: 200_000 },
    )
    expect((await failure(turn())).message).toContain('200000 bytes')
  })
})

describe('time', () => {
  test('silence before the headers', async () => {
    const { turn } = await serve(() => {}, { idleTimeoutMs: 50 })
    const failed = await failure(turn())
    expect(failed).toMatchObject({ kind: 'unavailable' })
    expect(failed.message).toContain('nothing came for 50 ms')
  })

  test('silence in the middle', async () => {
    const { turn, texts } = await serve(
      (response) => void stream(response).write(start() + text(0, 'Half')),
      { idleTimeoutMs: 80 },
    )
    expect((await failure(turn())).message).toContain('nothing came for 80 ms')
    expect(texts).toEqual(['Half'])
  })

  test('pings are no silence, but the whole turn has an end', async () => {
    const { turn } = await serve(
      (response) => {
        stream(response)
        const timer = setInterval(() => response.write(event({ type: 'ping' })), 20)
        response.on('close', () => clearInterval(timer))
      },
      { idleTimeoutMs: 200, requestTimeoutMs: 400 },
    )
    expect((await failure(turn())).message).toContain('not finished after 400 ms')
  })

  test('a turn slower than the idle limit is fine while pieces come', async () => {
    const { turn } = await serve(
      (response) => {
        stream(response)
        const pieces = [start(), text(0, 'a'), text(1, 'b'), text(2, 'c'), stop()]
        const timer = setInterval(() => {
          const piece = pieces.shift()
          if (piece !== undefined) return void response.write(piece)
          clearInterval(timer)
          response.end()
        }, 60)
      },
      { idleTimeoutMs: 200 },
    )
    expect((await turn()).blocks).toHaveLength(3)
  })

  test('a server that never closes after message_stop holds nobody up and loses its connection', async () => {
    const closed = Promise.withResolvers<void>()
    const { turn } = await serve((response) => {
      response.on('close', closed.resolve)
      stream(response).write(start() + text(0, 'done') + stop())
    })
    const began = Date.now()
    expect((await turn()).blocks).toEqual([{ type: 'text', text: 'done' }])
    expect(Date.now() - began).toBeLessThan(1000)
    await closed.promise
  })

  test('our abort closes the connection', async () => {
    const closed = Promise.withResolvers<void>()
    const { turn, controller } = await serve((response) => {
      response.on('close', closed.resolve)
      stream(response).write(start() + text(0, 'Half'))
      setTimeout(() => controller.abort(), 30)
    })
    expect(await failure(turn())).toMatchObject({ kind: 'aborted' })
    await closed.promise
  })

  test('many turns under one signal leave no listeners on it', async () => {
    const warnings: Error[] = []
    const onWarning = (warning: Error) => warnings.push(warning)
    process.on('warning', onWarning)
    const { turn } = await serve((response) => stream(response).end(start() + text(0, 'x') + stop()))
    for (let count = 0; count < 15; count += 1) await turn()
    await new Promise((resolve) => setImmediate(resolve))
    process.off('warning', onWarning)
    expect(warnings).toEqual([])
  })
})

describe('what a turn holds', () => {
  const inputs: [string, string[], string, RegExp][] = [
    ['truncated', ['{"code": "print(', '1'], 'end_turn', /not valid JSON/],
    ['cut by max_tokens', ['{"code": "pri'], 'max_tokens', /length limit/],
    ['nothing, cut by max_tokens', [], 'max_tokens', /length limit/],
    ['a list', ['[1,2]'], 'tool_use', /must be a JSON object/],
    ['a string', ['"x"'], 'tool_use', /must be a JSON object/],
    ['too deep', [`{"a":${'['.repeat(5000)}${']'.repeat(5000)}}`], 'tool_use', /nested too deep/],
    ['long and broken', [`{"code":"${'x'.repeat(50_000)}`], 'tool_use', /not valid JSON/],
  ]
  test.each(inputs)('tool input that is %s', async (_name, json, reason, expected) => {
    const { turn } = await serve((response) =>
      stream(response).end(start() + tool(0, 'toolu_1', 'code', ...json) + stop(reason)),
    )
    const [only] = (await turn()).blocks
    expect(only).toMatchObject({ type: 'tool_use', id: 'toolu_1', name: 'code' })
    const problem = invalidToolInput(only?.type === 'tool_use' ? only.input : undefined)
    expect(problem?.reason).toMatch(expected)
    expect(problem?.raw.length).toBeLessThan(2100)
  })

  test('good tool input is no marker, not even after max_tokens', async () => {
    const { turn } = await serve((response) =>
      stream(response).end(
        start() +
          tool(0, 'toolu_1', 'code', '{"__invalid":', '1}') +
          tool(1, 'toolu_2', 'shell', '{"command":"ls"}') +
          stop('max_tokens'),
      ),
    )
    const { blocks, stopReason } = await turn()
    expect(stopReason).toBe('max_tokens')
    expect(blocks).toEqual([
      { type: 'tool_use', id: 'toolu_1', name: 'code', input: { __invalid: 1 } },
      { type: 'tool_use', id: 'toolu_2', name: 'shell', input: { command: 'ls' } },
    ])
    expect(invalidToolInput({ __invalid: 1 })).toBeUndefined()
  })

  test('ids that are there twice, and names and texts that a database or the API would refuse', async () => {
    const { turn, texts } = await serve((response) =>
      stream(response).end(
        start() +
          text(0, 'nul \u0000 and half \ud83d') +
          tool(1, 'toolu_1', 'code', '{"a":"x\\u0000y"}') +
          tool(2, 'toolu_1', 'no such/tool', '{}') +
          stop('tool_use'),
      ),
    )
    const { blocks } = await turn()
    expect(blocks[0]).toEqual({ type: 'text', text: 'nul \uFFFD and half \uFFFD' })
    expect(texts.join('')).toBe('nul \uFFFD and half ')
    expect(blocks[1]).toMatchObject({ id: 'toolu_1', input: { a: 'x\uFFFDy' } })
    expect(blocks[2]).toMatchObject({ name: 'no_such_tool', id: expect.stringMatching(/^toolu_[\w-]{30,}$/) })
  })

  test('usage with cache counts: later totals win, missing ones do not reset', async () => {
    const { turn } = await serve((response) =>
      stream(response).end(
        start({
          input_tokens: 100,
          output_tokens: 1,
          cache_read_input_tokens: 2000,
          cache_creation_input_tokens: 300,
        }) +
          text(0, 'x') +
          stop('end_turn', { output_tokens: 42, input_tokens: null, cache_read_input_tokens: -1 }),
      ),
    )
    const { usage, model } = await turn()
    expect(usage).toEqual({
      inputTokens: 100,
      outputTokens: 42,
      cacheReadTokens: 2000,
      cacheWriteTokens: 300,
    })
    expect(model).toBe('served-model')
  })

  test('unknown events, deltas and blocks are passed over', async () => {
    const { turn } = await serve((response) =>
      stream(response).end(
        start() +
          event({ type: 'news' }) +
          block(0, { type: 'hologram', data: 1 }, { type: 'hologram_delta', data: 2 }) +
          block(
            1,
            { type: 'thinking', thinking: '', signature: '' },
            { type: 'signature_delta', signature: 'c2ln' },
          ) +
          block(
            2,
            { type: 'text', text: 'A' },
            { type: 'citations_delta', citation: {} },
            { type: 'text_delta', text: 'B' },
          ) +
          stop('refusal'),
      ),
    )
    const { blocks, stopReason } = await turn()
    expect(blocks).toEqual([
      { type: 'thinking', thinking: '', signature: 'c2ln' },
      { type: 'text', text: 'AB' },
    ])
    expect(stopReason).toBe('refusal')
  })
})

describe('what is sent', () => {
  test('cache breakpoints, headers, and a conversation the API accepts', async () => {
    let sent: Record<string, unknown> = {}
    let headers: IncomingMessage['headers'] = {}
    const { turn } = await serve((response, body, request) => {
      sent = body
      headers = request.headers
      stream(response).end(start() + text(0, 'x') + stop())
    })
    await turn({
      messages: [
        { role: 'user', content: [{ type: 'text', text: 'Go.' }] },
        {
          role: 'assistant',
          content: [
            { type: 'thinking', thinking: '', signature: 'c2ln' },
            { type: 'thinking', thinking: 'unsigned', signature: '' },
            { type: 'text', text: '  \n' },
            { type: 'tool_use', id: 'toolu_1', name: 'code', input: {} },
          ],
        },
        {
          role: 'user',
          content: [
            { type: 'tool_result', tool_use_id: 'toolu_1', content: 'half \ud83d', is_error: true },
            { type: 'text', text: 'A note.' },
          ],
        },
        { role: 'assistant', content: [{ type: 'text', text: '' }] },
        { role: 'user', content: [{ type: 'text', text: 'And?' }] },
      ],
    })
    const cache_control = { type: 'ephemeral' }
    expect(sent).toMatchObject({
      model: 'claude-sonnet-5-5',
      stream: true,
      max_tokens: 1000,
      tool_choice: { type: 'auto' },
    })
    expect(sent.system).toEqual([{ type: 'text', text: 'You are a test.', cache_control }])
    expect(sent.tools).toEqual([
      { name: 'code', description: 'Runs code.', input_schema: { type: 'object' } },
      { name: 'shell', description: 'Runs a command.', input_schema: { type: 'object' }, cache_control },
    ])
    expect(sent.messages).toEqual([
      { role: 'user', content: [{ type: 'text', text: 'Go.' }] },
      {
        role: 'assistant',
        content: [
          { type: 'thinking', thinking: '', signature: 'c2ln' },
          { type: 'tool_use', id: 'toolu_1', name: 'code', input: {} },
        ],
      },
      {
        role: 'user',
        content: [
          {
            type: 'tool_result',
            tool_use_id: 'toolu_1',
            content: 'half \uFFFD',
            is_error: true,
            cache_control,
          },
          { type: 'text', text: 'A note.' },
        ],
      },
      { role: 'user', content: [{ type: 'text', text: 'And?', cache_control }] },
    ])
    expect(headers.authorization).toBe(`Bearer ${KEY}`)
  })

  test('a demanded tool is the only one offered, and asked for in words: newer models refuse a forced choice', async () => {
    let sent: Record<string, unknown> = {}
    const { turn } = await serve((response, body) => {
      sent = body
      stream(response).end(start() + text(0, 'x') + stop())
    })
    await turn({ toolChoice: { name: 'shell' } })
    expect(sent.tool_choice).toEqual({ type: 'auto' })
    expect(sent.tools).toMatchObject([{ name: 'shell' }])
    expect(JSON.stringify(sent.system)).toContain('calling the tool `shell`')
    await turn({ toolChoice: 'auto', tools: [], system: '' })
    expect(sent).not.toHaveProperty('tools')
    expect(sent).not.toHaveProperty('tool_choice')
    expect(sent).not.toHaveProperty('system')
  })
})
