// A lock file that a killed process cannot leave behind for good. Plain JavaScript: bootstrap.mjs needs it before
// anything is installed, on Node 20. The file names its holder by pid *and* start time, because pids are reused.
import { randomUUID } from 'node:crypto'
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

export class LockedError extends Error {
  constructor(path, holder) {
    super(`${path} is held by process ${holder.pid}`)
    this.name = 'LockedError'
    this.holder = holder
  }
}

function readOrNull(path) {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return null
  }
}

/** Fields 3 and 22 of /proc/<pid>/stat; the command in field 2 may hold spaces and brackets, so count from its last bracket. */
function stateAndStart(pid) {
  const stat = readOrNull(`/proc/${pid}/stat`)
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ') ?? []
  return { state: fields[0] ?? null, started: fields[19] ?? null }
}

export function describeProcess(pid) {
  return {
    pid,
    started: stateAndStart(pid).started,
    boot: readOrNull('/proc/sys/kernel/random/boot_id')?.trim() ?? null,
  }
}

export function isAlive(holder) {
  try {
    process.kill(holder.pid, 0)
  } catch (error) {
    if (error.code !== 'EPERM') return false
  }
  if (stateAndStart(holder.pid).state === 'Z') return false // killed, only not yet reaped by its parent
  const now = describeProcess(holder.pid)
  if (holder.boot && now.boot && holder.boot !== now.boot) return false
  return !(holder.started && now.started && holder.started !== now.started)
}

function parseHolder(text) {
  try {
    const holder = JSON.parse(text)
    return Number.isSafeInteger(holder.pid) && holder.pid > 0 ? holder : null
  } catch {
    return null
  }
}

export function takeLock(path) {
  mkdirSync(dirname(path), { recursive: true })
  const mine = JSON.stringify({ ...describeProcess(process.pid), nonce: randomUUID() })
  const draft = `${path}.${randomUUID()}`
  writeFileSync(draft, mine, { mode: 0o600 })
  try {
    // Bounded: each round either takes the lock, finds a live holder, or removes one dead one.
    for (let round = 0; round < 20; round++) {
      try {
        linkSync(draft, path) // atomic, and the file is never seen empty
        return { path, release: () => release(path, mine) }
      } catch (error) {
        if (error.code !== 'EEXIST') throw error
      }
      const found = readOrNull(path)
      if (found === null) continue
      const holder = parseHolder(found)
      if (holder && isAlive(holder)) throw new LockedError(path, holder)
      removeIf(path, found)
    }
    throw new Error(`${path} changes hands too quickly; try again`)
  } finally {
    rmSync(draft, { force: true })
  }
}

/** Removes the file only if it still says `content`: rename first, so that two who found the same dead lock do not both win. */
function removeIf(path, content) {
  const aside = `${path}.${randomUUID()}`
  try {
    renameSync(path, aside)
  } catch (error) {
    if (error.code === 'ENOENT') return
    throw error
  }
  if (readOrNull(aside) !== content) {
    try {
      linkSync(aside, path)
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
    }
  }
  rmSync(aside, { force: true })
}

function release(path, mine) {
  if (readOrNull(path) === mine) rmSync(path, { force: true })
}

export async function waitForLock(path, { maxWaitMs, onWait }) {
  const until = Date.now() + maxWaitMs
  let told = false
  for (;;) {
    try {
      return takeLock(path)
    } catch (error) {
      if (!(error instanceof LockedError) || Date.now() > until) throw error
      if (!told) onWait?.(error.holder)
      told = true
      await sleep(100)
    }
  }
}
