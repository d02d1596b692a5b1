export type MessageState =
  | 'CREATED'
  | 'ACTIVE'
  | 'RETRY'
  | 'ERROR'
  | 'DELIVERED'
  | 'FAILED'
  | 'CANCEL_REQUESTED'
  | 'CANCELLED'

export interface FlowLimits {
  /** Deliveries in flight at once; null: no limit. */
  parallelism: number | null
  /** Deliveries started a period; null: no limit. */
  rate: number | null
  periodMs: number
}

/** Where and how a callback about a message is sent: itself a message. */
export interface CallbackOptions {
  url: string
  method: string
  retries: number
  retryDelay: string | null
  delayMs: number
  timeoutMs: number | null
  forward: Record<string, string>
}

/** What a publisher asks for, parsed from headers or query. */
export interface PublishOptions {
  method: string
  contentType: string | null
  forward: Record<string, string>
  delayMs: number
  /** Unix ms; beats the delay. */
  notBeforeMs: number | null
  retries: number
  retryDelay: string | null
  timeoutMs: number | null
  deduplicationId: string | null
  contentBasedDeduplication: boolean
  callback: CallbackOptions | null
  failureCallback: CallbackOptions | null
  flowControlKey: string | null
  flowLimits: FlowLimits | null
  labels: string[]
  queueName: string | null
  redact: string[]
}

export interface Message {
  /** Unique in the store; differs from `messageId` only for a duplicate made by a fault. */
  key: string
  messageId: string
  /** Order of acceptance. */
  sequence: number
  url: string
  topicName: string | null
  endpointName: string | null
  scheduleId: string | null
  callerIp: string
  options: PublishOptions
  /** Base64 of the raw body, so that a snapshot is plain JSON. */
  body: string
  state: MessageState
  createdAtMs: number
  /** Unix ms of the next attempt. */
  dueAtMs: number
  /** Attempts that failed so far. */
  retried: number
  /** In a queue: has taken its slot, which it keeps through its retries. */
  holdsSlot: boolean
  /** A callback of a queued message keeps that queue's slot until it is through. */
  slotQueue: string | null
  duplicate: boolean
}

export interface DeadLetter {
  dlqId: string
  message: Message
  failedAtMs: number
  responseStatus: number
  responseHeader: Record<string, string[]>
  /** Base64, cut at 16 KiB. */
  responseBody: string
  error: string | null
}

/** The JSON of the API for a message (GET /v2/messages/{id}, and part of a dead letter). */
export function describeMessage(message: Message): Record<string, unknown> {
  const { options } = message
  const bytes = Buffer.from(message.body, 'base64')
  const redactBody = options.redact.includes('body')
  const header: Record<string, string[]> = {}
  if (options.contentType) header['Content-Type'] = [options.contentType]
  for (const [name, value] of Object.entries(options.forward))
    header[name] = [redactHeader(options.redact, name) ? 'REDACTED' : value]
  return {
    messageId: message.messageId,
    url: message.url,
    topicName: message.topicName ?? undefined,
    endpointName: message.endpointName ?? undefined,
    method: options.method,
    header,
    ...(redactBody
      ? { body: 'REDACTED' }
      : isUtf8(bytes)
        ? { body: bytes.toString('utf8') }
        : { bodyBase64: message.body }),
    maxRetries: options.retries,
    retryDelayExpression: options.retryDelay ?? undefined,
    notBefore: message.dueAtMs,
    createdAt: message.createdAtMs,
    callback: options.callback?.url,
    failureCallback: options.failureCallback?.url,
    queueName: options.queueName ?? undefined,
    scheduleId: message.scheduleId ?? undefined,
    callerIP: message.callerIp,
    flowControlKey: options.flowControlKey ?? undefined,
    parallelism: options.flowLimits?.parallelism ?? undefined,
    rate: options.flowLimits?.rate ?? undefined,
    period: options.flowLimits ? options.flowLimits.periodMs / 1000 : undefined,
    label: options.labels[0],
    labels: options.labels.length > 0 ? options.labels : undefined,
  }
}

function redactHeader(redact: string[], name: string): boolean {
  return redact.some(
    (item) => /^headers?$/i.test(item) || item.toLowerCase() === `header[${name.toLowerCase()}]`,
  )
}

function isUtf8(bytes: Buffer): boolean {
  return Buffer.from(bytes.toString('utf8'), 'utf8').equals(bytes)
}
