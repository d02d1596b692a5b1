import { readFileSync } from 'node:fs'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * State and start time (clock ticks since boot, which tell a process from a later one with the same id), or null when
 * there is none. An orphan that ended stays as a zombie until init reaps it, which some containers never do: it counts as none.
 */
function processOf(pid: number): { startedAt: string } | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The second field is the name in brackets and may hold spaces: count from the last bracket.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' || fields[0] === 'X' ? null : { startedAt: fields[19] ?? '' }
  } catch {
    return null
  }
}

export function isRunning(pid: number): boolean {
  return processOf(pid) !== null
}

/**
 * Takes the directory for this process. A living other owner keeps it: two servers would corrupt the data, and stopping
 * the database under a running stack would be worse than an error.
 */
export async function takeOwnership(file: string): Promise<void> {
  const other = await livingOwner(file)
  if (other !== null && other !== process.pid) {
    throw new Error(`The database in ${dirname(file)} is in use by process ${other}: stop that one first.`)
  }
  await writeFile(file, `${process.pid} ${processOf(process.pid)?.startedAt ?? ''}\n`)
}

/** Id of the living process that took ownership with this file, or null. */
export async function livingOwner(file: string): Promise<number | null> {
  const text = await readFile(file, 'utf8').catch(() => '')
  const [pid = '', started = ''] = text.trim().split(' ')
  const owner = Number(pid)
  return Number.isInteger(owner) && owner > 0 && processOf(owner)?.startedAt === started ? owner : null
}

/** Stops a server that a killed parent left running on `data`, and clears the lock file of one that crashed. */
export async function stopLeftover(data: string): Promise<'none' | 'stopped' | 'cleared'> {
  const lock = join(data, 'postmaster.pid')
  const text = await readFile(lock, 'utf8').catch(() => null)
  if (text === null) return 'none'
  const pid = Number(text.split('\n')[0])
  if (!Number.isInteger(pid) || pid <= 1 || !isPostmasterOf(pid, data)) {
    // The id may by now belong to an unrelated process, on which Postgres would refuse to start.
    await rm(lock, { force: true })
    return 'cleared'
  }
  await stopPostmaster(pid)
  return 'stopped'
}

function isPostmasterOf(pid: number, data: string): boolean {
  try {
    const args = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
    return (args[0] ?? '').endsWith('/postgres') && args.includes(data)
  } catch {
    return false
  }
}

const STOP_SECONDS = { SIGINT: 10, SIGQUIT: 5, SIGKILL: 5 } as const

/** Fast shutdown, then immediate (the next start replays the log), then kill. Resolves when the process is gone. */
export async function stopPostmaster(
  pid: number,
  signals: readonly (keyof typeof STOP_SECONDS)[] = ['SIGINT', 'SIGQUIT', 'SIGKILL'],
): Promise<void> {
  for (const signal of signals) {
    const seconds = STOP_SECONDS[signal]
    try {
      process.kill(pid, signal)
    } catch {
      return
    }
    if (await gone(pid, seconds)) return
  }
  throw new Error(`Postgres (process ${pid}) does not stop.`)
}

async function gone(pid: number, seconds: number): Promise<boolean> {
  const deadline = Date.now() + seconds * 1000
  while (Date.now() < deadline) {
    if (!isRunning(pid)) return true
    await sleep(10)
  }
  return false
}
