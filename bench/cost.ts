import { cpuMs, threadCpuMs } from './child-process.ts'
import type { Database } from './database.ts'

/** What a piece of work took, beside the time on the clock. */
export interface Cost {
  wallMs: number
  /** CPU of the database's backends. */
  databaseMs: number
  /** CPU by process name, this one as `here`. */
  processesMs: Record<string, number>
  walSyncs: number
  walSyncMs: number
  walBytes: number
}

interface Wal {
  wal_sync: string
  wal_sync_time: number
  wal_bytes: string
}

/**
 * Costs of `work`, divided by `units`. The backends that did it must end within it (close the pool in `end`): they tell the server
 * their WAL figures when they end, and at other times up to ten seconds late.
 */
export async function costOf(
  database: Database,
  units: number,
  {
    processes = {},
    work,
    end,
  }: { processes?: Record<string, number>; work: () => Promise<void>; end: () => Promise<void> },
): Promise<Cost> {
  const backends = async () => {
    const rows = await database.sql<{ pid: number }>(
      `select pid from pg_stat_activity where usename in ('agent_step_bench', 'authenticator')`,
    )
    return new Map(rows.map(({ pid }) => [pid, threadCpuMs(pid)]))
  }
  const wal = async () => {
    const [row] = await database.sql<Wal & Record<string, unknown>>('select * from pg_stat_wal')
    if (row === undefined) throw new Error('pg_stat_wal is empty')
    return row
  }
  const cpu = () => Object.entries(processes).map(([name, pid]) => [name, cpuMs(pid)] as const)
  const walBefore = await wal()
  const backendsBefore = await backends()
  const cpuBefore = new Map(cpu())
  const here = process.cpuUsage()
  const started = performance.now()
  await work()
  const wallMs = performance.now() - started
  const { user, system } = process.cpuUsage(here)
  const databaseMs = [...(await backends())].reduce(
    (sum, [pid, ms]) => sum + ms - (backendsBefore.get(pid) ?? 0),
    0,
  )
  const processesMs: Record<string, number> = { here: (user + system) / 1000 / units }
  for (const [name, ms] of cpu()) processesMs[name] = (ms - (cpuBefore.get(name) ?? 0)) / units
  await end()
  await new Promise((resolve) => setTimeout(resolve, 300)) // for the backends to be gone
  const walAfter = await wal()
  return {
    wallMs: wallMs / units,
    databaseMs: databaseMs / units,
    processesMs,
    walSyncs: (Number(walAfter.wal_sync) - Number(walBefore.wal_sync)) / units,
    walSyncMs: (walAfter.wal_sync_time - walBefore.wal_sync_time) / units,
    walBytes: (Number(walAfter.wal_bytes) - Number(walBefore.wal_bytes)) / units,
  }
}

export function costText(name: string, cost: Cost): string {
  const processes = Object.entries(cost.processesMs)
    .map(([process, ms]) => `${process} ${ms.toFixed(2)}`)
    .join(', ')
  return `- ${name}: ${cost.wallMs.toFixed(2)} ms a step; CPU ms: Postgres ${cost.databaseMs.toFixed(2)}, ${processes}; ${cost.walSyncs.toFixed(2)} WAL syncs (${cost.walSyncMs.toFixed(2)} ms), ${Math.round(cost.walBytes)} WAL bytes`
}
