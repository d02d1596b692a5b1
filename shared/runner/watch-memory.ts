import { readFile } from 'node:fs/promises'
import { WATCH_EVERY_MS } from './limits.ts'
import { listTree, type Process } from './processes.ts'

/** Bytes that only this process can give back: anonymous and shared memory and what of it was swapped out, no mapped files. */
async function ownBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'latin1').catch(() => '')
  let kilobytes = 0
  for (const [, amount] of status.matchAll(/^(?:RssAnon|RssShmem|VmSwap):\s+(\d+) kB$/gm))
    kilobytes += Number(amount)
  return kilobytes * 1024
}

/** Processes that the kernel killed at this control group's limit, cgroup v2 or v1; 0 where nothing says so. */
export async function countMemoryKills(): Promise<number> {
  for (const path of ['/sys/fs/cgroup/memory.events', '/sys/fs/cgroup/memory/memory.oom_control']) {
    const text = await readFile(path, 'latin1').catch(() => '')
    const [, count] = /^oom_kill (\d+)$/m.exec(text) ?? []
    if (count !== undefined) return Number(count)
  }
  return 0
}

/**
 * Looks at the tool's process tree five times a second and calls back once when it takes too much. A cgroup would be exact, but
 * is delegated to an ordinary user only on some machines; in a pod the container's own limit stands behind this one.
 */
export function watchMemory(options: {
  root: number
  memoryBytes: number
  processes: number
  onExceeded(what: 'memory' | 'processes'): void
  /** Processes that left the tree; only without confinement. */
  more?: () => Promise<Process[]>
}): { stop(): void } {
  let timer: NodeJS.Timeout | undefined
  let stopped = false
  const look = async (): Promise<void> => {
    const tree = await listTree(options.root)
    const known = new Set(tree.map((found) => found.pid))
    for (const found of (await options.more?.()) ?? []) if (!known.has(found.pid)) tree.push(found)
    const sizes = await Promise.all(tree.map((found) => ownBytes(found.pid)))
    if (stopped) return
    if (sizes.reduce((sum, size) => sum + size, 0) > options.memoryBytes) options.onExceeded('memory')
    // The kernel counts threads too and is stricter; this holds where it cannot be told to count.
    else if (tree.length > options.processes + 8) options.onExceeded('processes')
    timer = setTimeout(again, WATCH_EVERY_MS)
  }
  const again = (): void => {
    look().catch(() => {
      // /proc unreadable for a moment (out of file descriptors): look again.
      if (!stopped) timer = setTimeout(again, WATCH_EVERY_MS)
    })
  }
  timer = setTimeout(again, WATCH_EVERY_MS)
  return {
    stop() {
      stopped = true
      clearTimeout(timer)
    },
  }
}
