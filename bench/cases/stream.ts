import { get } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Bench } from '../bench.ts'
import { type BenchStack, openStack } from '../bench-stack.ts'
import type { CaseReport } from '../report.ts'
import { bootstrap, quantile } from '../statistics.ts'

const TARGET_MS = 100
const TURNS = 8
const GIVE_UP_MS = 30_000

/** From the moment an event's row is written (its commit comes after that) to its arrival at a reader of the run's stream. */
export async function stream({ root, quick }: Bench): Promise<CaseReport> {
  const stack = await openStack(root, { turns: TURNS, settings: {} })
  const delays: number[] = []
  try {
    for (let n = 0; n < (quick ? 2 : 20); n++) delays.push(...(await followOnce(stack)))
  } finally {
    await stack.close()
  }
  const p95 = bootstrap(delays, (values) => quantile(values, 0.95))
  return {
    rows: [
      {
        what: 'commit → event at an SSE reader, p95',
        target: `≤ ${TARGET_MS} ms`,
        result: `${p95.value.toFixed(1)} ms [${p95.low.toFixed(1)}, ${p95.high.toFixed(1)}], median ${quantile(delays, 0.5).toFixed(1)} ms, ${delays.length} events`,
        reached: p95.high <= TARGET_MS,
      },
    ],
    notes: [
      'Runs in the local stack: step function, PostgREST’s face, Redis’ stand-in, logs function, gateway. Counted from `created_at` of the row, so the rest of its transaction with its wait for the disk is in it. Only events that were written while the reader was connected.',
    ],
  }
}

async function followOnce(stack: BenchStack): Promise<number[]> {
  // The first turn waits until the reader is there.
  const arrivals = new Map<number, number>()
  const runId = await stack.create()
  const connected = Date.now()
  await read(`${stack.stack.origin}/agent/run/${runId}/stream`, stack.token, (seq) => {
    if (!arrivals.has(seq)) arrivals.set(seq, Date.now())
  })
  const rows = await stack.sql<{ seq: number; at: number }>(
    `select seq::integer as seq, extract(epoch from created_at)::float8 * 1000 as at from public.agent_task_logs where run_id = $1`,
    [runId],
  )
  const first = Math.min(...arrivals.values())
  return rows.flatMap(({ seq, at }) => {
    const arrived = arrivals.get(seq)
    return arrived === undefined || at < Math.max(connected, first) ? [] : [arrived - at]
  })
}

/** Resolves when the stream has ended. A frame's id is `seq` or `seq.part`; the last part stands for the whole row. */
function read(url: string, token: string, onSeq: (seq: number) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = get(url, { headers: { authorization: `Bearer ${token}` }, agent: false }, (response) => {
      if (response.statusCode !== 200) reject(new Error(`the stream answered ${response.statusCode}`))
      let rest = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => {
        const lines = (rest + chunk).split('\n')
        rest = lines.pop() ?? ''
        for (const line of lines) if (/^id: \d+$/.test(line)) onSeq(Number(line.slice(4)))
      })
      response.on('end', () => resolve())
      response.on('error', () => resolve())
    })
    request.on('error', reject)
    void sleep(GIVE_UP_MS, undefined, { ref: false }).then(() => request.destroy())
  })
}
