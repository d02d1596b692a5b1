import { AppError } from '../../shared/core/errors.ts'
import type { Fault, Faults } from './faults.ts'
import type { Kernel, Process } from './kernel.ts'
import type { Random } from './random.ts'

export interface Surroundings {
  kernel: Kernel
  random: Random
  faults: Faults
  /** A promise was broken: recorded with the seed. */
  broken: (what: string, detail: string) => void
}

export interface PortFaults {
  rejected?: Fault
  doneButTimeout?: Fault
  doneAfterTimeout?: Fault
  /** How much more often than at other ports: for calls that a world makes seldom. */
  weight?: number
}

// one for each caller: what waits for it is then forgotten with it
const never = () => new Promise<never>(() => undefined)

/**
 * One call of a port by a process: the request travels, is carried out at the other end, and the answer travels back. The process may be
 * killed before the call, while the request is on its way (it is carried out all the same) or as the answer comes; the other end may
 * refuse, or do it and not say so.
 */
export function callPort<T>(
  { kernel, random, faults }: Surroundings,
  process: Process,
  name: string,
  work: () => T | Promise<T>,
  { rejected, doneButTimeout, doneAfterTimeout, weight = 1 }: PortFaults = {},
): Promise<T> {
  if (!process.alive) return never()
  if (faults.strikes('crash.before_call', 0.1)) {
    kernel.note('crash before', name)
    kernel.kill(process)
    return never()
  }
  return new Promise<T>((resolve, reject) => {
    const unavailable = () => reject(new AppError('unavailable', `${name} does not answer`))
    const back = (answer: () => void) => {
      kernel.after(
        random.between(0, 5),
        () => {
          if (faults.strikes('crash.after_call', 0.1)) {
            kernel.note('crash after', name)
            kernel.kill(process)
          } else answer()
        },
        process,
      )
    }
    const carryOut = (silent: boolean) => {
      const done = Promise.resolve().then(work)
      if (silent) {
        done.catch(() => undefined)
        return
      }
      const lost = doneButTimeout !== undefined && faults.strikes(doneButTimeout, weight)
      if (lost) kernel.note('answer lost', name)
      done.then(
        (value) => back(lost ? unavailable : () => resolve(value)),
        (error: unknown) => back(lost ? unavailable : () => reject(error)),
      )
    }
    if (rejected !== undefined && faults.strikes(rejected, weight)) {
      kernel.note('rejected', name)
      back(unavailable)
      return
    }
    if (doneAfterTimeout !== undefined && faults.strikes(doneAfterTimeout, weight)) {
      kernel.note('carried out late', name)
      kernel.after(random.between(1000, 20_000), () => carryOut(true))
      kernel.after(random.between(0, 10_000), unavailable, process)
      return
    }
    kernel.after(random.between(0, 15), () => carryOut(false))
    if (faults.strikes('crash.in_flight', 0.05)) {
      kernel.after(0, () => {
        kernel.note('crash in flight', name)
        kernel.kill(process)
      })
    }
  })
}
