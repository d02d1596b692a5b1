export interface LockHolder {
  pid: number
  /** Ticks after boot at which the process started, from /proc; null where there is no /proc. */
  started: string | null
  boot: string | null
}

export interface Lock {
  path: string
  /** Removes the lock if it is still ours. Safe to call twice. */
  release(): void
}

/** Another live process holds the lock. */
export class LockedError extends Error {
  readonly holder: LockHolder
  constructor(path: string, holder: LockHolder)
}

/** Takes the lock or throws LockedError at once. A lock of a dead process is taken over. */
export function takeLock(path: string): Lock

/** Takes the lock, waiting for a live holder up to `maxWaitMs`; `onWait` is called once, when there is one to wait for. */
export function waitForLock(
  path: string,
  options: { maxWaitMs: number; onWait?: (holder: LockHolder) => void },
): Promise<Lock>

export function isAlive(holder: LockHolder): boolean
export function describeProcess(pid: number): LockHolder
