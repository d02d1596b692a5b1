import type { Message } from './message.ts'
import type { Flow, State } from './state.ts'

/**
 * Which messages start now, and when to look again (null: only when something changes). Everything is counted afresh from the
 * messages themselves, so no counter can leak when a delivery ends in an unforeseen way; 10,000 messages take about 2 ms.
 */
export function pickDue(
  state: State,
  nowMs: number,
  room: number,
  scale: (ms: number) => number,
): { start: Message[]; wakeAtMs: number | null } {
  const inQueue = new Map<string, number>()
  const inFlow = new Map<string, number>()
  const add = (counts: Map<string, number>, key: string | null) => {
    if (key !== null) counts.set(key, (counts.get(key) ?? 0) + 1)
  }
  const due: Message[] = []
  let wakeAtMs: number | null = null
  const wakeBy = (atMs: number) => {
    wakeAtMs = wakeAtMs === null ? atMs : Math.min(wakeAtMs, atMs)
  }

  for (const message of state.messages.values()) {
    if (message.holdsSlot) add(inQueue, message.options.queueName)
    add(inQueue, message.slotQueue)
    if (message.state === 'ACTIVE' || message.state === 'CANCEL_REQUESTED')
      add(inFlow, message.options.flowControlKey)
    else if (message.dueAtMs <= nowMs) due.push(message)
    else wakeBy(message.dueAtMs)
  }
  for (const schedule of state.schedules.values()) {
    if (!schedule.isPaused && schedule.nextAtMs !== null) wakeBy(schedule.nextAtMs)
  }

  // Order is only promised in a queue: the order of acceptance.
  due.sort((a, b) => a.sequence - b.sequence)
  const start: typeof due = []
  for (const message of due) {
    if (start.length >= room) break
    const { queueName, flowControlKey } = message.options
    const queue = queueName === null ? undefined : state.queues.get(queueName)
    if (queue?.paused) continue
    if (queue && !message.holdsSlot && (inQueue.get(queue.name) ?? 0) >= queue.parallelism) continue
    const flow = flowControlKey === null ? undefined : state.flows.get(flowControlKey)
    if (flow && !admits(flow, inFlow.get(flow.key) ?? 0, nowMs, scale, wakeBy)) continue
    if (queue && !message.holdsSlot) add(inQueue, queue.name)
    if (flow) {
      add(inFlow, flow.key)
      flow.windowCount += 1
    }
    start.push(message)
  }
  return { start, wakeAtMs }
}

function admits(
  flow: Flow,
  active: number,
  nowMs: number,
  scale: (ms: number) => number,
  wakeBy: (atMs: number) => void,
): boolean {
  const periodMs = scale(flow.limits.periodMs)
  if (nowMs >= flow.windowStartMs + periodMs) {
    flow.windowStartMs = nowMs
    flow.windowCount = 0
  }
  if (flow.paused) return false
  if (flow.limits.parallelism !== null && active >= flow.limits.parallelism) return false
  if (flow.limits.rate !== null && flow.windowCount >= flow.limits.rate) {
    wakeBy(flow.windowStartMs + periodMs)
    return false
  }
  return true
}
