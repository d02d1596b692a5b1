import type { DeadLetter, FlowLimits, Message, PublishOptions } from './message.ts'

export interface Queue {
  name: string
  parallelism: number
  paused: boolean
  createdAtMs: number
  updatedAtMs: number
}

export interface Topic {
  name: string
  endpoints: { name?: string; url: string }[]
  createdAtMs: number
  updatedAtMs: number
}

export interface Schedule {
  scheduleId: string
  cron: string
  destination: string
  options: PublishOptions
  /** Base64. */
  body: string
  callerIp: string
  createdAtMs: number
  isPaused: boolean
  lastAtMs: number | null
  nextAtMs: number | null
}

export interface Flow {
  key: string
  limits: FlowLimits
  pinnedParallelism: boolean
  pinnedRate: boolean
  paused: boolean
  windowStartMs: number
  windowCount: number
}

export interface LogEvent {
  time: number
  state: string
  messageId: string
  url: string
  topicName: string | null
  endpointName: string | null
  queueName: string | null
  scheduleId: string | null
  flowControlKey: string | null
  callerIP: string
  labels: string[]
  error: string | null
  responseStatus: number | null
  nextDeliveryTime: number | null
}

/** How much is held: the stand-in runs inside the stack's process and must not grow without end. */
export interface Limits {
  maxMessages: number
  /** Sum of the bodies of all pending messages. */
  maxPendingBytes: number
  maxMessageBytes: number
  maxDeadLetters: number
  maxEvents: number
  /** Of queues, topics, schedules and flow control keys, each. */
  maxNames: number
  maxDeduplicationIds: number
  /** Deliveries in flight at once. */
  parallelism: number
}

export const DEFAULT_LIMITS: Limits = {
  maxMessages: 10_000,
  maxPendingBytes: 64 * 1024 * 1024,
  // The free plan's message size.
  maxMessageBytes: 1024 * 1024,
  maxDeadLetters: 500,
  maxEvents: 5000,
  maxNames: 1000,
  maxDeduplicationIds: 50_000,
  parallelism: 100,
}

export interface State {
  sequence: number
  messages: Map<string, Message>
  pendingBytes: number
  deadLetters: Map<string, DeadLetter>
  queues: Map<string, Queue>
  topics: Map<string, Topic>
  schedules: Map<string, Schedule>
  flows: Map<string, Flow>
  /** Deduplication id → message and the moment until which it counts. In order of insertion, which is order of expiry. */
  seen: Map<string, { messageId: string; untilMs: number }>
  events: LogEvent[]
}

export function emptyState(): State {
  return {
    sequence: 0,
    messages: new Map(),
    pendingBytes: 0,
    deadLetters: new Map(),
    queues: new Map(),
    topics: new Map(),
    schedules: new Map(),
    flows: new Map(),
    seen: new Map(),
    events: [],
  }
}

/** Bytes of a base64 text's content, closely enough for a limit. */
export function bodyBytes(base64: string): number {
  return Math.floor((base64.length * 3) / 4)
}

/** Takes the newest configuration of a message, unless that part is pinned. */
export function touchFlow(state: State, key: string, limits: FlowLimits | null, nowMs: number): Flow {
  const flow = state.flows.get(key) ?? {
    key,
    limits: { parallelism: null, rate: null, periodMs: 1000 },
    pinnedParallelism: false,
    pinnedRate: false,
    paused: false,
    windowStartMs: nowMs,
    windowCount: 0,
  }
  if (limits) {
    flow.limits = {
      parallelism: flow.pinnedParallelism ? flow.limits.parallelism : limits.parallelism,
      rate: flow.pinnedRate ? flow.limits.rate : limits.rate,
      periodMs: flow.pinnedRate ? flow.limits.periodMs : limits.periodMs,
    }
  }
  state.flows.set(key, flow)
  return flow
}

/** Drops the keys that no pending message uses and nobody paused or pinned. */
export function forgetIdleFlows(state: State): void {
  const used = new Set([...state.messages.values()].map((message) => message.options.flowControlKey))
  for (const flow of state.flows.values()) {
    if (!used.has(flow.key) && !flow.paused && !flow.pinnedParallelism && !flow.pinnedRate)
      state.flows.delete(flow.key)
  }
}
