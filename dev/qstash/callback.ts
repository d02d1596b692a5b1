import type { DeliveryResult } from './deliver.ts'
import type { CallbackOptions, Message, PublishOptions } from './message.ts'

/** The JSON that a callback or failure callback brings: the answer and the message that got it, bodies in base64. */
export function callbackBody(message: Message, result: DeliveryResult, dlqId: string | null): Buffer {
  const sourceHeader: Record<string, string[]> = {}
  if (message.options.contentType) sourceHeader['Content-Type'] = [message.options.contentType]
  for (const [name, value] of Object.entries(message.options.forward)) sourceHeader[name] = [value]
  return Buffer.from(
    JSON.stringify({
      status: result.status,
      header: result.header,
      body: (result.error === null ? result.body : Buffer.from(result.error)).toString('base64'),
      retried: message.retried,
      maxRetries: message.options.retries,
      sourceMessageId: message.messageId,
      topicName: message.topicName ?? undefined,
      endpointName: message.endpointName ?? undefined,
      url: message.url,
      method: message.options.method,
      sourceHeader,
      sourceBody: message.body,
      notBefore: message.dueAtMs,
      createdAt: message.createdAtMs,
      scheduleId: message.scheduleId ?? undefined,
      callerIP: message.callerIp,
      dlqId: dlqId ?? undefined,
    }),
  )
}

/** A callback is a message of its own, with its own retries and none of its source's limits. */
export function callbackPublishOptions(callback: CallbackOptions): PublishOptions {
  return {
    method: callback.method,
    contentType: 'application/json',
    forward: callback.forward,
    delayMs: callback.delayMs,
    notBeforeMs: null,
    retries: callback.retries,
    retryDelay: callback.retryDelay,
    timeoutMs: callback.timeoutMs,
    deduplicationId: null,
    contentBasedDeduplication: false,
    callback: null,
    failureCallback: null,
    flowControlKey: null,
    flowLimits: null,
    labels: [],
    queueName: null,
    redact: [],
  }
}
