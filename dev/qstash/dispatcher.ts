import { callbackBody, callbackPublishOptions } from './callback.ts'
import { type DeliveryResult, deliver } from './deliver.ts'
import type { Faults } from './faults.ts'
import type { CallbackOptions, DeadLetter, Message } from './message.ts'
import { pickDue } from './pick.ts'
import { acceptPublish, type PublishContext, type PublishRequest } from './publish.ts'
import { isFinalFailure, retryWaitMs } from './retry.ts'
import { fireSchedules } from './schedules.ts'
import { signDelivery } from './sign.ts'
import { bodyBytes, type Limits, type State } from './state.ts'

/** How long an answer may take without Upstash-Timeout: the free plan's maximum. */
const DEFAULT_TIMEOUT_MS = 900_000
/** Kept of a failed answer in the dead letters. */
const MAX_DEAD_RESPONSE_BYTES = 16 * 1024
/** Node's timers end at 24.8 days; a sleep is cut and looked at again. */
const MAX_SLEEP_MS = 60_000

export interface DispatcherOptions {
  state: State
  limits: Limits
  faults: Faults
  currentKey: () => string
  region: string
  now: () => number
  scale: (ms: number) => number
  changed: () => void
  log: (fields: Record<string, unknown>, message: string) => void
}

export interface Counters {
  published: number
  deduplicated: number
  delivered: number
  failed: number
  retried: number
  attempts: number
}

export interface Dispatcher {
  counters: Counters
  publish(request: PublishRequest): ReturnType<typeof acceptPublish>
  /** Something became possible: look again soon. */
  wake(): void
  /** Forgets a message; one that is on the wire may still arrive. False when there is none. */
  cancel(message: Message): void
  record(message: Message, state: string, detail?: Partial<EventDetail>): void
  close(): Promise<void>
}

interface EventDetail {
  error: string | null
  responseStatus: number | null
  nextDeliveryTime: number | null
}

export function createDispatcher(options: DispatcherOptions): Dispatcher {
  const { state, limits, faults, now, scale } = options
  const counters: Counters = {
    published: 0,
    deduplicated: 0,
    delivered: 0,
    failed: 0,
    retried: 0,
    attempts: 0,
  }
  const stopping = new AbortController()
  const inFlight = new Set<Promise<void>>()
  let timer: NodeJS.Timeout | undefined
  let pumping: NodeJS.Immediate | undefined

  const record: Dispatcher['record'] = (message, name, detail = {}) => {
    state.events.push({
      time: now(),
      state: name,
      messageId: message.messageId,
      url: message.url,
      topicName: message.topicName,
      endpointName: message.endpointName,
      queueName: message.options.queueName,
      scheduleId: message.scheduleId,
      flowControlKey: message.options.flowControlKey,
      callerIP: message.callerIp,
      labels: message.options.labels,
      error: null,
      responseStatus: null,
      nextDeliveryTime: null,
      ...detail,
    })
    // Cut in one go now and then: shift() for each event would copy the array each time.
    if (state.events.length > limits.maxEvents * 1.2)
      state.events.splice(0, state.events.length - limits.maxEvents)
  }

  const context = (): PublishContext => ({
    state,
    limits,
    nowMs: now(),
    scale,
    extraDelayMs: () => faults.extraDelayMs(),
    loses: () => faults.loses(),
    record,
  })

  const publish: Dispatcher['publish'] = (request) => {
    const accepted = acceptPublish(context(), request)
    for (const one of Array.isArray(accepted) ? accepted : [accepted]) {
      if (one.deduplicated) counters.deduplicated += 1
      else counters.published += 1
    }
    options.changed()
    wake()
    return accepted
  }

  function wake(): void {
    if (!stopping.signal.aborted) pumping ??= setImmediate(pump)
  }

  function pump(): void {
    pumping = undefined
    clearTimeout(timer)
    if (stopping.signal.aborted) return
    fireSchedules(state, now(), publish, options.log)
    const { start, wakeAtMs } = pickDue(state, now(), limits.parallelism - inFlight.size, scale)
    for (const message of start) {
      const attempt = run(message).finally(() => {
        inFlight.delete(attempt)
        wake()
      })
      inFlight.add(attempt)
    }
    const sleepMs = Math.min(
      MAX_SLEEP_MS,
      Math.max(1, Math.ceil((wakeAtMs ?? Number.POSITIVE_INFINITY) - now())),
    )
    if (wakeAtMs !== null) timer = setTimeout(pump, sleepMs)
  }

  async function run(message: Message): Promise<void> {
    message.state = 'ACTIVE'
    message.holdsSlot = message.options.queueName !== null
    counters.attempts += 1
    record(message, 'ACTIVE')
    if (!message.duplicate && message.retried === 0 && faults.duplicates()) duplicate(message)
    const body = Buffer.from(message.body, 'base64')
    const result = await deliver({
      url: message.url,
      method: message.options.method,
      headers: await deliveryHeaders(message, body),
      body,
      timeoutMs: scale(message.options.timeoutMs ?? DEFAULT_TIMEOUT_MS),
      signal: stopping.signal,
    })
    if (stopping.signal.aborted) return
    if (message.duplicate) remove(message)
    else settle(message, result)
    options.changed()
  }

  /** A second delivery of the same message, as the real service makes when it restarts in the middle of one. */
  function duplicate(message: Message): void {
    if (state.messages.size >= limits.maxMessages) return
    state.sequence += 1
    const copy: Message = {
      ...message,
      key: `${message.messageId}#${state.sequence}`,
      sequence: state.sequence,
      state: 'CREATED',
      dueAtMs: now() + faults.extraDelayMs(),
      duplicate: true,
      holdsSlot: false,
      slotQueue: null,
      options: { ...message.options, queueName: null, flowControlKey: null },
    }
    state.messages.set(copy.key, copy)
    state.pendingBytes += bodyBytes(copy.body)
    wake()
  }

  async function deliveryHeaders(message: Message, body: Buffer): Promise<Record<string, string>> {
    const { options: publishOptions } = message
    return {
      ...publishOptions.forward,
      ...(publishOptions.contentType ? { 'content-type': publishOptions.contentType } : {}),
      'user-agent': 'Upstash-QStash',
      'upstash-message-id': message.messageId,
      'upstash-retried': String(message.retried),
      'upstash-caller-ip': message.callerIp,
      'upstash-region': options.region,
      ...(message.scheduleId ? { 'upstash-schedule-id': message.scheduleId } : {}),
      ...(message.topicName ? { 'upstash-topic-name': message.topicName } : {}),
      'upstash-signature': await signDelivery({
        key: options.currentKey(),
        url: message.url,
        body,
        nowMs: now(),
      }),
    }
  }

  function settle(message: Message, result: DeliveryResult): void {
    const cancelled = (message.state as string) === 'CANCEL_REQUESTED'
    const succeeded = result.status >= 200 && result.status < 300
    const detail = { error: result.error, responseStatus: result.status || null }
    if (succeeded) {
      counters.delivered += 1
      record(message, 'DELIVERED', detail)
    } else {
      record(message, 'ERROR', { ...detail, error: result.error ?? `status ${result.status}` })
    }
    call(message, message.options.callback, result, null)
    if (succeeded || cancelled) {
      if (!succeeded) record(message, 'CANCELLED')
      remove(message)
    } else if (message.retried >= message.options.retries || isFinalFailure(result.status, result.header)) {
      fail(message, result)
    } else {
      const waitMs = retryWaitMs({
        header: result.header,
        retryDelay: message.options.retryDelay,
        retried: message.retried,
        nowMs: now(),
      })
      message.retried += 1
      counters.retried += 1
      message.state = 'RETRY'
      message.dueAtMs = now() + scale(waitMs) + faults.extraDelayMs()
      record(message, 'RETRY', { nextDeliveryTime: message.dueAtMs })
    }
  }

  function fail(message: Message, result: DeliveryResult): void {
    counters.failed += 1
    state.sequence += 1
    const letter: DeadLetter = {
      dlqId: `${now()}-${state.sequence}`,
      message: { ...message, state: 'FAILED' },
      failedAtMs: now(),
      responseStatus: result.status,
      responseHeader: result.header,
      responseBody: result.body.subarray(0, MAX_DEAD_RESPONSE_BYTES).toString('base64'),
      error: result.error,
    }
    state.deadLetters.set(letter.dlqId, letter)
    for (const oldest of state.deadLetters.keys()) {
      if (state.deadLetters.size <= limits.maxDeadLetters) break
      state.deadLetters.delete(oldest)
    }
    record(message, 'FAILED', { responseStatus: result.status || null, error: result.error })
    call(message, message.options.failureCallback, result, letter.dlqId)
    remove(message)
  }

  function call(
    message: Message,
    callback: CallbackOptions | null,
    result: DeliveryResult,
    dlqId: string | null,
  ): void {
    if (!callback) return
    try {
      publish({
        destination: callback.url,
        options: callbackPublishOptions(callback),
        body: callbackBody(message, result, dlqId),
        callerIp: message.callerIp,
        slotQueue: message.options.queueName,
      })
    } catch (error) {
      options.log({ message_id: message.messageId, err: error }, 'callback could not be queued')
    }
  }

  function remove(message: Message): void {
    if (state.messages.delete(message.key)) state.pendingBytes -= bodyBytes(message.body)
  }

  return {
    counters,
    publish,
    wake,
    record,
    cancel(message) {
      if (message.state === 'ACTIVE') {
        message.state = 'CANCEL_REQUESTED'
        record(message, 'CANCEL_REQUESTED')
      } else {
        record(message, 'CANCELLED')
        remove(message)
      }
      options.changed()
      wake()
    },
    async close() {
      stopping.abort()
      clearTimeout(timer)
      clearImmediate(pumping)
      await Promise.allSettled([...inFlight])
    },
  }
}
