import { AppError } from '../../shared/core/errors.ts'
import { ModelError } from '../../shared/ports/model.ts'

/**
 * What goes wrong at one port call. `before`: the process dies and the call is not made. `after`: it dies when the call has happened.
 * `lost`: the call happened, but its caller gets an error. `frozen`: the process stops in front of the call, everybody else goes on
 * to the end, and then it wakes up.
 */
export type FaultKind = 'before' | 'after' | 'lost' | 'frozen'
export const FAULT_KINDS: readonly FaultKind[] = ['before', 'after', 'lost', 'frozen']

export interface Fault {
  kind: FaultKind
  /** Number of the port call, from 0, over all invocations of the run. */
  at: number
}

/** The process is gone: its promise is abandoned, nothing it does counts any more. */
export class Killed extends Error {
  override name = 'Killed'
}

/** Numbers every port call of a run, whichever invocation makes it, and holds what is to go wrong. */
export class Meter {
  readonly calls: string[] = []
  readonly struck: Fault[] = []
  /** Called when a fault struck: the state at this moment is looked at. */
  onStrike: () => Promise<void> = () => Promise.resolve()
  readonly #faults: readonly Fault[]
  #open: () => void = () => undefined
  readonly gate: Promise<void>

  constructor(faults: readonly Fault[] = []) {
    this.#faults = faults
    this.gate = new Promise((resolve) => {
      this.#open = resolve
    })
  }

  next(label: string): Fault | undefined {
    const at = this.calls.push(label) - 1
    const fault = this.#faults.find((one) => one.at === at)
    if (fault !== undefined) this.struck.push(fault)
    return fault
  }

  /** Wakes what is frozen. */
  open(): void {
    this.#open()
  }
}

/** One process of ours that works on one request. */
export class Invocation {
  /** Rejects when this process is gone for everybody else: killed, or frozen. */
  readonly gone: Promise<never>
  readonly #meter: Meter
  #end: (error: Killed) => void = () => undefined
  #state: 'alive' | 'dead' | 'frozen' = 'alive'
  readonly #death: Promise<never>
  #die: (error: Killed) => void = () => undefined

  constructor(meter: Meter) {
    this.#meter = meter
    this.gone = new Promise((_, reject) => {
      this.#end = reject
    })
    this.#death = new Promise((_, reject) => {
      this.#die = reject
    })
    // nobody may be listening when it happens
    this.gone.catch(() => undefined)
    this.#death.catch(() => undefined)
  }

  /** The same port, through which this invocation can be struck. */
  wrap<T extends object>(name: string, port: T): T {
    return new Proxy(port, {
      get: (target, key) => {
        const member: unknown = Reflect.get(target, key)
        if (typeof member !== 'function') return member
        return (...args: unknown[]) => {
          const answer = this.#call(name, String(key), () => Promise.resolve(member.apply(target, args)))
          // what nobody awaits (a hint to readers) dies with the process, and not ours with it
          answer.catch(() => undefined)
          return answer
        }
      },
    })
  }

  /** The outcome of the work, or Killed as soon as this process is gone; `settled` resolves when even a frozen one has come to rest. */
  run<T>(work: () => Promise<T>): { outcome: Promise<T>; settled: Promise<unknown> } {
    const working = work()
    const settled = working.catch(() => undefined)
    return { outcome: Promise.race([working, this.gone]), settled }
  }

  async #call(port: string, method: string, perform: () => Promise<unknown>): Promise<unknown> {
    if (this.#state === 'dead') throw new Killed()
    if (this.#state === 'frozen') {
      await this.#meter.gate
      return perform()
    }
    const fault = this.#meter.next(`${port}.${method}`)
    switch (fault?.kind) {
      case undefined:
        return await Promise.race([perform(), this.#death])
      case 'before':
        return await this.#kill()
      case 'after':
        await perform().catch(() => undefined)
        return await this.#kill()
      case 'lost':
        await perform().catch(() => undefined)
        await this.#meter.onStrike()
        return lostAnswer(port, method)
      case 'frozen':
        this.#state = 'frozen'
        await this.#meter.onStrike()
        this.#end(new Killed())
        await this.#meter.gate
        return perform()
    }
  }

  async #kill(): Promise<never> {
    this.#state = 'dead'
    await this.#meter.onStrike()
    const error = new Killed()
    this.#end(error)
    this.#die(error)
    throw error
  }
}

/** How each port says that it is not known whether it happened; the cache never says so (see Cache). */
function lostAnswer(port: string, method: string): unknown {
  if (port === 'cache') return method === 'hasFlag' ? false : undefined
  if (port === 'model') throw new ModelError('unavailable', 'the connection was cut')
  throw new AppError('unavailable', 'the answer was lost', { retryAfterSeconds: 1 })
}
