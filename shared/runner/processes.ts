import { readdir, readFile, readlink } from 'node:fs/promises'

/** A process as /proc shows it; `start` (clock ticks since boot) tells it from a later one with the same number. */
export interface Process {
  pid: number
  parent: number
  start: string
  zombie: boolean
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'latin1')
  } catch {
    return undefined // gone or not ours
  }
}

export async function readProcess(pid: number): Promise<Process | undefined> {
  const stat = await readText(`/proc/${pid}/stat`)
  if (!stat) return undefined
  // The name stands in parentheses and may itself hold spaces and parentheses, so fields are counted from the last one.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return {
    pid,
    parent: Number(fields[1]),
    start: fields[19] ?? '',
    zombie: fields[0] === 'Z' || fields[0] === 'X',
  }
}

export async function listProcesses(): Promise<Process[]> {
  const names = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const found = await Promise.all(names.map((name) => readProcess(Number(name))))
  return found.filter((process) => process !== undefined)
}

async function listChildren(pid: number): Promise<number[] | undefined> {
  const threads = await readdir(`/proc/${pid}/task`).catch(() => [])
  const lists = await Promise.all(threads.map((thread) => readText(`/proc/${pid}/task/${thread}/children`)))
  if (lists.length > 0 && lists.every((list) => list === undefined)) return undefined
  return lists.flatMap((list) => (list ?? '').split(' ').filter(Boolean).map(Number))
}

/**
 * The process and all its descendants; those inside a pid namespace are seen too, their orphans go to its first process.
 * Follows the kernel's lists of children (5 reads a process instead of all of /proc: this runs five times a second); a kernel
 * without them (CONFIG_PROC_CHILDREN) costs the full scan.
 */
export async function listTree(root: number): Promise<Process[]> {
  const first = await readProcess(root)
  if (!first) return []
  const tree = [first]
  for (let next = 0; next < tree.length; next += 1) {
    const parent = tree[next]
    if (!parent) break
    const children = await listChildren(parent.pid)
    if (!children) {
      // No lists in this kernel (or the process just ended, then the scan finds the same).
      const all = Map.groupBy(await listProcesses(), (found) => found.parent)
      tree.push(...(all.get(parent.pid) ?? []))
      continue
    }
    const found = await Promise.all(children.map(readProcess))
    tree.push(...found.filter((child) => child !== undefined))
  }
  return tree
}

/** Processes that live in a directory: working directory below it or TMPDIR in it. Finds what left its process group. */
export async function listStrays(directory: string): Promise<Process[]> {
  const strays: Process[] = []
  for (const found of await listProcesses()) {
    if (found.pid === process.pid || found.zombie) continue
    const workingDirectory = await readlink(`/proc/${found.pid}/cwd`).catch(() => '')
    const inside = workingDirectory === directory || workingDirectory.startsWith(`${directory}/`)
    if (inside || (await readText(`/proc/${found.pid}/environ`))?.includes(`TMPDIR=${directory}/`))
      strays.push(found)
  }
  return strays
}

export function kill(pid: number, signal: NodeJS.Signals = 'SIGKILL'): void {
  try {
    process.kill(pid, signal)
  } catch {
    // Already gone, or not ours to kill.
  }
}

export async function isAlive(found: Process): Promise<boolean> {
  const now = await readProcess(found.pid)
  return now !== undefined && now.start === found.start && !now.zombie
}

/**
 * Kills these processes and whatever `more` still finds, until none is left. Answers whether that worked within the time: a
 * process in an uninterruptible wait (a hung disk) outlives SIGKILL.
 */
export async function killAll(
  first: Process[],
  more: () => Promise<Process[]> = () => Promise.resolve([]),
  timeoutSeconds = 5,
): Promise<boolean> {
  const until = Date.now() + timeoutSeconds * 1000
  for (;;) {
    const alive: Process[] = []
    for (const found of [...first, ...(await more())]) if (await isAlive(found)) alive.push(found)
    if (alive.length === 0) return true
    for (const found of alive) kill(found.pid)
    if (Date.now() > until) return false
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
