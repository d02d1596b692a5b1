import {
  type Model,
  ModelError,
  type ModelRequest,
  type ModelTurn,
  type ModelTurnOptions,
} from '../../ports/model.ts'
import { boundedFetch, ResponseTooLarge } from './bounded-fetch.ts'
import { toModelError } from './to-model-error.ts'
import { toRequest } from './to-request.ts'
import { TurnCollector } from './turn-collector.ts'

/** After `message_stop` a server closes at once; waiting this long for it keeps the connection reusable, and no turn waits more. */
const CLOSE_WAIT_MS = 20

export interface AnthropicModelOptions {
  /** Secret: never in an error's message. */
  apiKey: string
  /** Default: https://api.anthropic.com. */
  baseUrl?: string
  /** For example `claude-sonnet-5-5`. Current models think before they answer, and thinking counts into `maxTokens`. */
  model: string
  /** The longest silence, `ping`s included, before the turn is given up as `unavailable`. */
  idleTimeoutMs?: number
  /** The longest whole turn. Default 10 minutes. */
  requestTimeoutMs?: number
  /** Bytes accepted from the wire for one turn. 16 MiB is 60 times the text of the longest answer models give today. */
  maxResponseBytes?: number
}

/** Claude by the Messages API, streamed. The SDK (83 MB resident, 130 ms to load) is imported for the first turn only. */
export function createModel(options: AnthropicModelOptions): Model {
  return { turn: (request, turnOptions) => turn(options, request, turnOptions) }
}

async function turn(
  options: AnthropicModelOptions,
  request: ModelRequest,
  turnOptions: ModelTurnOptions,
): Promise<ModelTurn> {
  const { idleTimeoutMs = 60_000, requestTimeoutMs = 600_000, maxResponseBytes = 16 * 1024 * 1024 } = options
  const { signal } = turnOptions
  if (signal.aborted) throw aborted()
  const attempt = new AbortController()
  let gaveUp: string | undefined
  const giveUp = (why: string) => {
    gaveUp ??= why
    attempt.abort()
  }
  const cancel = () => attempt.abort()
  signal.addEventListener('abort', cancel, { once: true })
  const idle = setTimeout(() => giveUp(`nothing came for ${idleTimeoutMs} ms`), idleTimeoutMs)
  const whole = setTimeout(() => giveUp(`not finished after ${requestTimeoutMs} ms`), requestTimeoutMs)
  try {
    const { default: Anthropic } = await import('@anthropic-ai/sdk')
    const client = new Anthropic({
      apiKey: options.apiKey,
      baseURL: options.baseUrl ?? 'https://api.anthropic.com',
      maxRetries: 0,
      timeout: requestTimeoutMs,
      // The SDK logs prompts and events at its finer levels, and may be told to by the environment.
      logLevel: 'off',
      openTelemetry: false,
      fetch: boundedFetch({ maxBytes: maxResponseBytes, onBytes: () => idle.refresh() }),
    })
    const stream = await client.messages.create(toRequest(options.model, request), { signal: attempt.signal })
    return await collect(stream, new TurnCollector(options.model, turnOptions.onText))
  } catch (error) {
    if (signal.aborted) throw aborted()
    if (error instanceof ResponseTooLarge) throw new ModelError('unavailable', `model API: ${error.message}`)
    const known = toModelError(error, options.apiKey)
    if (gaveUp !== undefined && known.kind === 'unavailable')
      throw new ModelError('unavailable', `model API: ${gaveUp}`)
    throw known
  } finally {
    clearTimeout(idle)
    clearTimeout(whole)
    signal.removeEventListener('abort', cancel)
    // Frees a connection that the server keeps open after its last event, or after ours was enough.
    attempt.abort()
  }
}

/** Reads until `message_stop`: a stream that ends without it was cut, however politely it was closed. */
async function collect<Event>(
  stream: AsyncIterable<Event>,
  collector: { take(event: Event): boolean; finish(): ModelTurn },
): Promise<ModelTurn> {
  const events = stream[Symbol.asyncIterator]()
  for (;;) {
    const next = await events.next()
    if (next.done === true) throw new ModelError('unavailable', 'model API: the stream was cut')
    if (!collector.take(next.value)) continue
    const closed = events.next().catch(() => undefined)
    const late = Promise.withResolvers<void>()
    const timer = setTimeout(late.resolve, CLOSE_WAIT_MS)
    await Promise.race([closed, late.promise])
    clearTimeout(timer)
    return collector.finish()
  }
}

function aborted(): ModelError {
  return new ModelError('aborted', 'the turn was aborted')
}
