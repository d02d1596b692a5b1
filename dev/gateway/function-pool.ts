import { Agent } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Exit, type ProcessSpec, type RunningProcess, startProcess } from './start-process.ts'

export interface FunctionSpec extends ProcessSpec {
  routes: readonly string[]
  /** Stopped after this many milliseconds without a request. */
  idleMs: number
}

export interface ScaleEvent {
  function: string
  /** Processes before and after. */
  from: number
  to: number
  /** Up: from the request to readiness. Down: from SIGTERM to the exit, or 0 when it died. */
  ms: number
  reason: 'request' | 'idle' | 'died' | 'close'
}

export interface PoolLimits {
  /** A request is held at most this long while its function starts. */
  holdMs: number
  /** Requests held at once, a function. */
  queueSize: number
  startTimeoutMs: number
  /** Between SIGTERM and SIGKILL. */
  graceMs: number
}

/** One process that requests can be sent to. */
export interface Target {
  port: number
  agent: Agent
}

/** How a request went: served to its end, broken, or not even taken (the process does not listen any more). */
export type Served = 'served' | 'failed' | 'refused'

/** No process for the request: answer 503. */
export class NoTargetError extends Error {
  readonly retryAfterSeconds: number
  constructor(message: string, retryAfterSeconds: number) {
    super(message)
    this.name = 'NoTargetError'
    this.retryAfterSeconds = retryAfterSeconds
  }
}

interface Instance extends Target {
  process: RunningProcess
  inFlight: number
  readyAt: number
  stoppedFor: 'idle' | 'close' | undefined
  idleTimer: NodeJS.Timeout | undefined
}

interface Waiter {
  resolve: (target: Instance) => void
  reject: (error: NoTargetError) => void
  since: number
}

/** After this many failed starts in a row waiting requests are answered at once instead of being held. */
const GIVE_UP_AFTER = 3
/** Before the n-th start after failures in a row. One death costs nothing: it is most often a test or the kernel that killed it. */
const backOffMs = (failures: number) => (failures <= 1 ? 0 : Math.min(100 * 2 ** (failures - 2), 5_000))

/**
 * Keeps one function between zero and one serving process. Everything happens on one thread, so "nothing in flight, nobody waits"
 * and "no longer the serving process" are one decision: no request can fall between them.
 */
export class FunctionPool {
  readonly spec: FunctionSpec
  #limits: PoolLimits
  #onScale: (event: ScaleEvent) => void
  #onLine: (line: string, stream: 'stdout' | 'stderr') => void
  #log: (line: string) => void
  #waiters: Waiter[] = []
  #serving: Instance | undefined
  #starting: Promise<void> | undefined
  #alive = new Set<Instance>()
  #booting = new Set<RunningProcess>()
  #failures = 0
  #lastCrash = ''
  #notBefore = 0
  #closing = new AbortController()

  constructor(
    spec: FunctionSpec,
    limits: PoolLimits,
    hooks: {
      onScale: (event: ScaleEvent) => void
      onLine: (line: string, stream: 'stdout' | 'stderr') => void
      log: (line: string) => void
    },
  ) {
    this.spec = spec
    this.#limits = limits
    this.#onScale = hooks.onScale
    this.#onLine = hooks.onLine
    this.#log = hooks.log
  }

  /** Resolves with a ready process and counts the request as in flight until `release`. Rejects with NoTargetError. */
  async acquire(signal: AbortSignal): Promise<{ target: Target; release: (served: Served) => void }> {
    if (this.#serving?.process.isDead()) this.#serving = undefined // its exit event is on the way
    const instance = this.#serving ?? (await this.#wait(signal))
    if (instance !== this.#serving) return this.acquire(signal) // it died between its readiness and our turn
    instance.inFlight++
    clearTimeout(instance.idleTimer)
    let released = false
    return {
      target: instance,
      release: (served) => {
        if (released) return
        released = true
        instance.inFlight--
        if (served === 'served') this.#failures = 0
        if (served === 'refused') this.#abandon(instance)
        this.#armIdleTimer(instance)
      },
    }
  }

  pids(): number[] {
    return [...this.#alive]
      .map(({ process }) => process.pid)
      .concat([...this.#booting].map(({ pid }) => pid))
      .filter((pid) => pid !== undefined)
  }

  /** Stops every process, serving or not; those who wait get NoTargetError. */
  async close(graceMs = this.#limits.graceMs): Promise<void> {
    this.#closing.abort()
    this.#rejectAll(new NoTargetError('The stack is shutting down', 1))
    for (const booting of this.#booting) booting.kill()
    const instances = [...this.#alive]
    this.#serving = undefined
    await Promise.all([
      ...instances.map((instance) => this.#stop(instance, 'close', graceMs)),
      this.#starting,
    ])
  }

  kill(): void {
    this.#closing.abort()
    for (const { process } of this.#alive) process.kill()
    for (const booting of this.#booting) booting.kill()
  }

  /** It runs but takes no connection: nothing can be expected of it. */
  #abandon(instance: Instance): void {
    if (this.#serving === instance) this.#serving = undefined
    if (!instance.stoppedFor) instance.process.kill()
  }

  #wait(signal: AbortSignal): Promise<Instance> {
    if (this.#closing.signal.aborted)
      return Promise.reject(new NoTargetError('The stack is shutting down', 1))
    if (this.#failures >= GIVE_UP_AFTER && Date.now() < this.#notBefore)
      return Promise.reject(this.#crashLoop())
    if (this.#waiters.length >= this.#limits.queueSize) {
      return Promise.reject(new NoTargetError(`Too many requests wait for ${this.spec.name} to start`, 1))
    }
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        since: Date.now(),
        resolve: (instance) => settle(() => resolve(instance)),
        reject: (error) => settle(() => reject(error)),
      }
      const settle = (action: () => void) => {
        clearTimeout(timer)
        signal.removeEventListener('abort', onAbort)
        const index = this.#waiters.indexOf(waiter)
        if (index >= 0) this.#waiters.splice(index, 1)
        action()
      }
      const onAbort = () => waiter.reject(new NoTargetError('The caller went away', 1))
      const timer = setTimeout(() => {
        waiter.reject(
          new NoTargetError(`${this.spec.name} did not start within ${this.#limits.holdMs} ms`, 1),
        )
      }, this.#limits.holdMs)
      signal.addEventListener('abort', onAbort)
      this.#waiters.push(waiter)
      this.#ensureStarting()
    })
  }

  #ensureStarting(): void {
    this.#starting ??= this.#startWhileWanted().finally(() => {
      this.#starting = undefined
      if (this.#isWanted()) this.#ensureStarting() // someone came between the last look and here
    })
  }

  #isWanted(): boolean {
    return this.#waiters.length > 0 && !this.#serving && !this.#closing.signal.aborted
  }

  async #startWhileWanted(): Promise<void> {
    while (this.#isWanted()) {
      const pause = this.#notBefore - Date.now()
      if (pause > 0) await sleep(pause, undefined, { signal: this.#closing.signal }).catch(() => {})
      if (this.#isWanted()) await this.#startOne()
    }
  }

  async #startOne(): Promise<void> {
    let started: RunningProcess
    try {
      started = await startProcess(this.spec, {
        startTimeoutMs: this.#limits.startTimeoutMs,
        onLine: this.#onLine,
      })
    } catch (error) {
      this.#failed(`cannot be started: ${error instanceof Error ? error.message : String(error)}`)
      return
    }
    this.#booting.add(started)
    if (this.#closing.signal.aborted) started.kill() // close() came while the port was being looked for
    const isReady = await started.ready
    this.#booting.delete(started)
    if (!isReady || this.#closing.signal.aborted) {
      started.kill()
      const exit = await started.exited
      if (!this.#closing.signal.aborted) this.#failed(`${describe(exit)} before it was ready`, exit.lastLines)
      return
    }
    this.#serve(started)
  }

  #serve(started: RunningProcess): void {
    const from = this.#alive.size
    const instance: Instance = {
      process: started,
      port: started.port,
      agent: new Agent({ keepAlive: true, maxFreeSockets: 32 }),
      inFlight: 0,
      readyAt: Date.now(),
      stoppedFor: undefined,
      idleTimer: undefined,
    }
    this.#alive.add(instance)
    this.#serving = instance
    const waiters = [...this.#waiters]
    const since = Math.min(Date.now(), ...waiters.map((waiter) => waiter.since))
    this.#emit({ from, to: this.#alive.size, ms: Date.now() - since, reason: 'request' })
    void started.exited.then((exit) => this.#gone(instance, exit))
    for (const waiter of waiters) waiter.resolve(instance)
    this.#armIdleTimer(instance)
  }

  #armIdleTimer(instance: Instance): void {
    clearTimeout(instance.idleTimer)
    if (instance !== this.#serving || instance.inFlight > 0) return
    instance.idleTimer = setTimeout(() => {
      if (instance === this.#serving && instance.inFlight === 0) void this.#stop(instance, 'idle')
    }, this.spec.idleMs)
  }

  async #stop(instance: Instance, reason: 'idle' | 'close', graceMs = this.#limits.graceMs): Promise<void> {
    // From here on the next request starts a fresh process, while this one drains.
    if (this.#serving === instance) this.#serving = undefined
    clearTimeout(instance.idleTimer)
    const wasStopping = instance.stoppedFor !== undefined
    instance.stoppedFor ??= reason
    // Idle: every connection is a spare one; open ones would only make the function's own close() wait.
    if (instance.inFlight === 0) instance.agent.destroy()
    if (wasStopping) {
      await instance.process.stop(graceMs) // a second SIGTERM does nothing, but the shorter grace holds
      return
    }
    const since = Date.now()
    await instance.process.stop(graceMs)
    await instance.process.exited
    this.#forget(instance, Date.now() - since, reason)
  }

  #gone(instance: Instance, exit: Exit): void {
    if (instance.stoppedFor) return // #stop reports it
    if (this.#serving === instance) this.#serving = undefined
    clearTimeout(instance.idleTimer)
    this.#failed(describe(exit), exit.lastLines)
    this.#forget(instance, 0, 'died')
    if (this.#waiters.length > 0) this.#ensureStarting()
  }

  #forget(instance: Instance, ms: number, reason: ScaleEvent['reason']): void {
    const from = this.#alive.size
    if (!this.#alive.delete(instance)) return
    instance.agent.destroy()
    this.#emit({ from, to: this.#alive.size, ms, reason })
  }

  #failed(what: string, lastLines: readonly string[] = []): void {
    this.#failures++
    const pause = backOffMs(this.#failures)
    this.#notBefore = Date.now() + pause
    this.#lastCrash = [`${this.spec.name} ${what}`, ...lastLines].join('\n  ')
    const again = pause > 0 ? ` (${this.#failures} times in a row, next start in ${pause} ms)` : ''
    this.#log([`${this.spec.name} ${what}${again}`, ...lastLines].join('\n  '))
    if (this.#failures >= GIVE_UP_AFTER) this.#rejectAll(this.#crashLoop())
  }

  #crashLoop(): NoTargetError {
    const seconds = Math.max(1, Math.ceil((this.#notBefore - Date.now()) / 1000))
    return new NoTargetError(
      `${this.spec.name} keeps failing to start: ${this.#lastCrash.split('\n')[0]}`,
      seconds,
    )
  }

  #rejectAll(error: NoTargetError): void {
    for (const waiter of [...this.#waiters]) waiter.reject(error)
  }

  #emit(event: Omit<ScaleEvent, 'function'>): void {
    this.#onScale({ function: this.spec.name, ...event })
  }
}

function describe({ code, signal, lastLines }: Exit): string {
  if (signal) return `was killed by ${signal}`
  return code === null ? `could not run (${lastLines[0] ?? 'unknown reason'})` : `exited with status ${code}`
}
