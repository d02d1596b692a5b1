import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { SystemStack, User } from '../system/kit.ts'
import type { Counts } from './counts.ts'
import type { CreateOp, History, Outcome } from './history.ts'

const MAX_ATTEMPTS = 8
const REQUEST_TIMEOUT_MS = 10_000
/** Enough that both cores always have a step to do, and the end of the faults still finds all of them within seconds. */
const MAX_ACTIVE_RUNS = 96
/** So many that a caller who waits for an answer in vain does not leave the others without work. */
const CALLERS = 12
const CANCEL_SHARE = 0.06
const PAUSE_SHARE = 0.05

interface Answer {
  outcome: Outcome
  body: Record<string, unknown>
}

export interface Driver {
  /** Runs that have not ended, at the last look. */
  active(): number
  /** Makes no new runs; resolves when every caller has got its answers. */
  stop(): Promise<void>
  /** Lets every run go on that a pause still holds; true when there was none. */
  resumeAll(): Promise<boolean>
}

/** Callers that create runs without end through the public address, and stop, pause and read some of them. */
export function startDriver(means: {
  system: SystemStack
  users: readonly User[]
  history: History
  counts: Counts
  isCalm: () => boolean
  random: () => number
}): Driver {
  const { system, users, history, counts, isCalm, random } = means
  const { origin } = system.stack()
  let stopped = false
  let active = 0

  const post = async (
    user: User,
    path: string,
    body: Record<string, unknown>,
    key?: string,
  ): Promise<Answer> => {
    try {
      const answer = await fetch(`${origin}/functions/v1/${path}`, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${user.token}`,
          'content-type': 'application/json',
          ...(key === undefined ? {} : { 'idempotency-key': key }),
        },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      })
      const text = await answer.text()
      counts.add(`${path} ${answer.status}`)
      if (!answer.ok) return { outcome: answer.status < 500 ? 'fail' : 'unknown', body: { text } }
      return { outcome: 'ok', body: JSON.parse(text) as Record<string, unknown> }
    } catch {
      counts.add(`${path} no answer`)
      return { outcome: 'unknown', body: {} }
    }
  }
  const repeat = async (attempt: () => Promise<Answer>): Promise<{ answer: Answer; attempts: number }> => {
    for (let attempts = 1; ; attempts++) {
      const answer = await attempt()
      if (answer.outcome !== 'unknown' || attempts >= MAX_ATTEMPTS) return { answer, attempts }
      await sleep(150 * attempts)
    }
  }

  const create = async (user: User): Promise<CreateOp> => {
    const key = randomUUID()
    const calmBefore = isCalm()
    const body = { action: 'create', prompt: `Measure this text, number ${key}`, tags: [key] }
    const { answer, attempts } = await repeat(() => post(user, 'agent-execute', body, key))
    const op: CreateOp = { key, outcome: answer.outcome, attempts, calm: calmBefore && isCalm() }
    const runId = answer.body['run_id']
    if (answer.outcome === 'ok' && typeof runId === 'string') op.runId = runId
    if (answer.outcome === 'fail') counts.add(`refused: ${String(answer.body['text']).slice(0, 120)}`)
    history.creates.push(op)
    return op
  }
  const meddle = async (user: User, op: CreateOp): Promise<void> => {
    const run_id = op.runId
    if (run_id === undefined) return
    const dice = random()
    await sleep(random() * 2000)
    if (dice < CANCEL_SHARE) {
      const { answer, attempts } = await repeat(() => post(user, 'agent-execute', { action: 'stop', run_id }))
      // refused after an attempt without an answer: that one may have done it
      op.cancel = answer.outcome === 'fail' && attempts > 1 ? 'unknown' : answer.outcome
    } else if (dice < CANCEL_SHARE + PAUSE_SHARE) {
      await post(user, 'agent-execute', { action: 'pause', run_id })
      await sleep(500)
      await repeat(() => post(user, 'agent-execute', { action: 'resume', run_id }))
    } else await post(user, 'agent-status', { run_id })
  }

  const counting = (async () => {
    while (!stopped) {
      active = await system
        .query<{ n: number }>(
          `select count(*)::int as n from public.agent_runs where status not in ('completed', 'failed', 'cancelled', 'timeout')`,
        )
        .then(
          ([row]) => row?.n ?? 0,
          () => active,
        )
      await sleep(250)
    }
  })()
  const meddling = new Set<Promise<void>>()
  const callers = Array.from({ length: CALLERS }, async (_, n) => {
    const user = users[n % users.length]
    while (!stopped && user !== undefined) {
      if (active >= MAX_ACTIVE_RUNS) {
        await sleep(50)
        continue
      }
      active += 1
      const op = await create(user)
      const work: Promise<void> = meddle(user, op).finally(() => meddling.delete(work))
      meddling.add(work)
    }
  })
  return {
    active: () => active,
    async stop() {
      stopped = true
      await Promise.all([...callers, counting])
      await Promise.all(meddling)
    },
    async resumeAll() {
      const held = await system.query<{ id: string; user_id: string }>(
        `select id, user_id from public.agent_runs where status = 'paused'`,
      )
      for (const { id, user_id } of held) {
        const user = users.find((one) => one.id === user_id)
        if (user !== undefined)
          await repeat(() => post(user, 'agent-execute', { action: 'resume', run_id: id }))
      }
      return held.length === 0
    },
  }
}
