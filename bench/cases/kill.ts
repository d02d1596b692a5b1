import { setTimeout as sleep } from 'node:timers/promises'
import type { Bench } from '../bench.ts'
import { type BenchStack, openStack } from '../bench-stack.ts'
import type { CaseReport } from '../report.ts'
import { bootstrap, quantile } from '../statistics.ts'

const LEASE_SECONDS = 3
const TARGET_SECONDS = 1
const GIVE_UP_MS = 60_000

/**
 * The step process is SIGKILLed while a model streams. Measured by the database's clock: from the end of the lease that the dead process
 * held to the commit of the step by its successor. The message comes again by the scheduler's own retry.
 */
export async function kill({ root, quick }: Bench): Promise<CaseReport> {
  const stack = await openStack(root, {
    turns: 2,
    settings: { STEP_LEASE_SECONDS: String(LEASE_SECONDS) },
  })
  const beyond: number[] = []
  const whole: number[] = []
  try {
    for (let n = 0; n < (quick ? 2 : 14); n++) {
      const { beyondSeconds, wholeSeconds } = await killOnce(stack)
      beyond.push(beyondSeconds)
      whole.push(wholeSeconds)
    }
  } finally {
    await stack.close()
  }
  const { value, low, high } = bootstrap(beyond)
  return {
    rows: [
      {
        what: `SIGKILL of a step → it is committed by the next process, beyond the rest of its lease (${LEASE_SECONDS} s, renewed)`,
        target: `≤ ${TARGET_SECONDS} s`,
        result: `${value.toFixed(2)} s [${low.toFixed(2)}, ${high.toFixed(2)}], p95 ${quantile(beyond, 0.95).toFixed(2)}, most ${Math.max(...beyond).toFixed(2)}; ${quantile(whole, 0.5).toFixed(2)} s after the kill`,
        reached: Math.max(...beyond) <= TARGET_SECONDS,
      },
    ],
    notes: [
      `${beyond.length} kills in the local stack (gateway, QStash's stand-in, PostgREST's face), each in a model turn that hangs; the next attempt's turn answers at once. The new process starts from zero within that time.`,
    ],
  }
}

interface Held extends Record<string, unknown> {
  step_number: number
  left: number
  now: number
}

async function killOnce(stack: BenchStack): Promise<{ beyondSeconds: number; wholeSeconds: number }> {
  const hangs = stack.provider.hangNext()
  const runId = await stack.create()
  await hangs
  // somewhere between two renewals
  await sleep(200 + Math.random() * LEASE_SECONDS * 1000)
  const pids = stack.stack.gateway.pids()['step'] ?? []
  if (pids.length === 0) throw new Error('there is no step process')
  for (const pid of pids) process.kill(pid, 'SIGKILL')
  const [held] = await stack.sql<Held>(
    `select step_number, extract(epoch from lease_until)::float8 as left, extract(epoch from clock_timestamp())::float8 as now
     from private.steps where run_id = $1 and state = 'open'`,
    [runId],
  )
  if (held === undefined) throw new Error('the step was not in work')
  const committed = await until(async () => {
    const [done] = await stack.sql<{ at: number }>(
      `select extract(epoch from completed_at)::float8 as at from public.agent_steps
       where run_id = $1 and step_number = $2 and completed_at is not null`,
      [runId, held.step_number],
    )
    return done?.at
  })
  // The rest of the run must not take the next turn that hangs.
  await until(async () => {
    const [run] = await stack.sql<{ status: string }>('select status from public.agent_runs where id = $1', [
      runId,
    ])
    return run?.status === 'completed' ? true : undefined
  })
  return { beyondSeconds: committed - held.left, wholeSeconds: committed - held.now }
}

async function until<T>(ask: () => Promise<T | undefined>): Promise<T> {
  const end = Date.now() + GIVE_UP_MS
  while (Date.now() < end) {
    const answer = await ask()
    if (answer !== undefined) return answer
    await sleep(20)
  }
  throw new Error(`the run did not go on within ${GIVE_UP_MS} ms of the kill`)
}
