import { createHash, randomUUID } from 'node:crypto'
import type { Message, PublishOptions } from './message.ts'
import { BadRequest, checkUrl } from './options.ts'
import { bodyBytes, forgetIdleFlows, type Limits, type State, touchFlow } from './state.ts'

/** For how long a deduplication id is remembered. */
const DEDUPLICATION_WINDOW_MS = 600_000

export interface Accepted {
  messageId: string
  url?: string
  deduplicated?: boolean
}

export interface PublishRequest {
  /** Absolute URL or the name of a topic (URL group). */
  destination: string
  options: PublishOptions
  body: Buffer
  callerIp: string
  scheduleId?: string
  slotQueue?: string | null
}

export interface PublishContext {
  state: State
  limits: Limits
  nowMs: number
  /** Stretches or shrinks every wait. */
  scale: (ms: number) => number
  /** Extra wait of a fault test. */
  extraDelayMs: () => number
  /** Accepts the message and then loses it: a fault test. */
  loses: () => boolean
  record: (message: Message, state: string) => void
}

/** Accepts a message, or one for each endpoint of a topic. Throws BadRequest; then nothing was accepted. */
export function acceptPublish(context: PublishContext, request: PublishRequest): Accepted | Accepted[] {
  const { state, limits } = context
  if (request.body.length > limits.maxMessageBytes) {
    throw new BadRequest(`message is larger than ${limits.maxMessageBytes} bytes`, 413)
  }
  if (/^https?:/i.test(request.destination)) {
    checkUrl(request.destination, 'destination')
    checkRoom(context, request, 1)
    return acceptOne(context, request, { url: request.destination })
  }
  const topic = state.topics.get(request.destination)
  if (!topic) {
    if (
      request.destination === '' ||
      request.destination.includes(':') ||
      request.destination.includes('/')
    ) {
      throw new BadRequest(
        'invalid destination: an absolute http or https URL or the name of a URL group is needed',
      )
    }
    throw new BadRequest(`URL group ${request.destination.slice(0, 128)} not found`, 404)
  }
  if (topic.endpoints.length === 0) throw new BadRequest('URL group has no endpoints')
  checkRoom(context, request, topic.endpoints.length)
  return topic.endpoints.map((endpoint) => ({
    ...acceptOne(context, request, endpoint, topic.name),
    url: endpoint.url,
  }))
}

function checkRoom({ state, limits }: PublishContext, request: PublishRequest, count: number): void {
  if (
    state.messages.size + count > limits.maxMessages ||
    state.pendingBytes + request.body.length * count > limits.maxPendingBytes
  ) {
    throw new BadRequest('quota of pending messages exceeded', 412)
  }
  const { queueName, flowControlKey } = request.options
  const fullOfQueues = queueName && !state.queues.has(queueName) && state.queues.size >= limits.maxNames
  const newFlow = flowControlKey && !state.flows.has(flowControlKey)
  if (newFlow && state.flows.size >= limits.maxNames) forgetIdleFlows(state)
  const fullOfFlows = newFlow && state.flows.size >= limits.maxNames
  if (fullOfQueues || fullOfFlows) throw new BadRequest('quota of queues or flow control keys exceeded', 412)
}

function acceptOne(
  context: PublishContext,
  request: PublishRequest,
  endpoint: { url: string; name?: string },
  topicName: string | null = null,
): Accepted {
  const { state, nowMs } = context
  const { options } = request
  const id = deduplicationKey(request, topicName === null ? null : endpoint.url)
  if (id !== null) {
    const known = state.seen.get(id)
    if (known && known.untilMs > nowMs) return { messageId: known.messageId, deduplicated: true }
  }
  state.sequence += 1
  const messageId = `msg_${randomUUID().replaceAll('-', '')}`
  const waitMs = options.notBeforeMs === null ? options.delayMs : Math.max(0, options.notBeforeMs - nowMs)
  const message: Message = {
    key: messageId,
    messageId,
    sequence: state.sequence,
    url: endpoint.url,
    topicName,
    endpointName: endpoint.name ?? null,
    scheduleId: request.scheduleId ?? null,
    callerIp: request.callerIp,
    options,
    body: request.body.toString('base64'),
    state: 'CREATED',
    createdAtMs: nowMs,
    dueAtMs: nowMs + context.scale(waitMs) + context.extraDelayMs(),
    retried: 0,
    holdsSlot: false,
    slotQueue: request.slotQueue ?? null,
    duplicate: false,
  }
  if (id !== null) remember(context, id, messageId)
  context.record(message, 'CREATED')
  if (context.loses()) return { messageId }
  if (options.queueName && !state.queues.has(options.queueName)) {
    const times = { createdAtMs: nowMs, updatedAtMs: nowMs }
    state.queues.set(options.queueName, { name: options.queueName, parallelism: 1, paused: false, ...times })
  }
  if (options.flowControlKey) touchFlow(state, options.flowControlKey, options.flowLimits, nowMs)
  state.messages.set(message.key, message)
  state.pendingBytes += bodyBytes(message.body)
  return { messageId }
}

function remember({ state, limits, nowMs, scale }: PublishContext, id: string, messageId: string): void {
  state.seen.delete(id)
  for (const [oldest, entry] of state.seen) {
    if (entry.untilMs > nowMs && state.seen.size < limits.maxDeduplicationIds) break
    state.seen.delete(oldest)
  }
  state.seen.set(id, { messageId, untilMs: nowMs + scale(DEDUPLICATION_WINDOW_MS) })
}

/** A topic's endpoints share one id, so the endpoint's URL is part of the key there. */
function deduplicationKey(
  { destination, options, body }: PublishRequest,
  endpointUrl: string | null,
): string | null {
  const suffix = endpointUrl === null ? '' : ` ${endpointUrl}`
  if (options.deduplicationId !== null) return `id ${options.deduplicationId}${suffix}`
  if (!options.contentBasedDeduplication) return null
  const hash = createHash('sha256')
  const forward = Object.entries(options.forward).sort(([a], [b]) => (a < b ? -1 : 1))
  hash.update(JSON.stringify([destination, options.contentType, forward]))
  hash.update(body)
  return `content ${hash.digest('hex')}${suffix}`
}
