import type { MemoryStore } from '../../shared/adapters/memory/store.ts'
import { AppError } from '../../shared/core/errors.ts'
import type { FrontStore, ObjectStore, StepStore, VerbStore } from '../../shared/ports/store.ts'
import { callPort, type Surroundings } from './call-port.ts'
import type { Process } from './kernel.ts'
import type { Oracle } from './oracle.ts'

/** Calls that succeed or fail as a whole, checked by comparing all rows; commits only rarely fail once their fence holds. */
const WHOLE = new Set([
  'createRun',
  'startRun',
  'cancelRun',
  'pauseRun',
  'resumeRun',
  'retryRun',
  'forkRun',
  'retryStep',
  'deleteRun',
  'bulkRuns',
  'finishJob',
])

const FAULTY = {
  rejected: 'store.rejected',
  doneButTimeout: 'store.done_but_timeout',
  doneAfterTimeout: 'store.done_after_timeout',
} as const

/** The database as processes reach it: every call may fail on its way there or back, and whatever is carried out is checked at once. */
export class SimStore {
  readonly #around: Surroundings
  readonly #memory: MemoryStore
  readonly #oracle: Oracle
  #down_until_ms = 0
  calls = 0
  record: ((call: CarriedOut) => void) | undefined

  constructor(around: Surroundings, memory: MemoryStore, oracle: Oracle) {
    this.#around = around
    this.#memory = memory
    this.#oracle = oracle
  }

  get down(): boolean {
    return !this.#around.faults.stopped && this.#around.kernel.now_ms < this.#down_until_ms
  }

  front(process: Process): FrontStore & VerbStore {
    return this.#faulty(process, this.#memory.front)
  }

  step(process: Process): StepStore & ObjectStore {
    return this.#faulty(process, this.#memory.step)
  }

  #faulty<Store extends object>(process: Process, store: Store): Store {
    const methods = Object.entries(store).map(([name, method]) => [
      name,
      (input: Record<string, unknown>) =>
        callPort(
          this.#around,
          process,
          `store.${name}`,
          () => this.#carryOut(name, method as Method, input),
          FAULTY,
        ),
    ])
    return Object.fromEntries(methods) as Store
  }

  /** All that a refused call must leave as it was. */
  #state(): unknown[] {
    const { runs, balances, objectsToRemove, jobsToRemove, idempotency } = this.#memory.tables
    const rows = [...runs.values()].map(({ queue, waits, ...lists }) => [[...queue], [...waits], lists])
    return [rows, [...balances], [...objectsToRemove], [...jobsToRemove], [...idempotency]]
  }

  #deletions(name: string, input: Record<string, unknown>): (() => void)[] {
    if (name === 'deleteRun') return [this.#oracle.beforeDelete(String(input['run_id']))]
    if (name !== 'bulkRuns' || input['verb'] !== 'delete') return []
    return [...this.#memory.tables.runs.keys()].map((id) => this.#oracle.beforeDelete(id))
  }

  async #carryOut(name: string, method: Method, input: Record<string, unknown>): Promise<unknown> {
    const { kernel, random, faults, broken } = this.#around
    if (faults.strikes('store.outage', 0.05))
      this.#down_until_ms = kernel.now_ms + random.between(1000, 90_000)
    if (this.down) throw new AppError('unavailable', 'The database does not answer')
    this.calls += 1
    const whole = WHOLE.has(name) ? JSON.stringify(this.#state()) : undefined
    const deleted = this.#deletions(name, input)
    try {
      const answer = await method(input)
      for (const check of deleted) check()
      kernel.note(name, String(input['step_number'] ?? ''))
      this.#oracle.done(name, input, answer)
      if (isBusy(answer)) faults.happened('call.no_slot')
      this.record?.({ at_ms: kernel.now_ms, name, input, answer })
      return answer
    } catch (error) {
      kernel.note(name, 'refused', error instanceof AppError ? error.code : 'defect')
      if (!(error instanceof AppError))
        broken(
          'the store refuses with known errors',
          error instanceof Error ? (error.stack ?? '') : String(error),
        )
      if (whole !== undefined && whole !== JSON.stringify(this.#state()))
        broken('what is refused changes nothing', name)
      if (error instanceof AppError && error.message.includes('is being removed'))
        faults.happened('objects.busy')
      this.record?.({ at_ms: kernel.now_ms, name, input, answer: error })
      throw error
    }
  }
}

function isBusy(answer: unknown): boolean {
  return typeof answer === 'object' && answer !== null && 'refused' in answer && answer.refused === 'busy'
}

/** A call that was carried out, for replaying it elsewhere. */
export interface CarriedOut {
  at_ms: number
  name: string
  input: Record<string, unknown>
  answer: unknown
}

type Method = (input: Record<string, unknown>) => Promise<unknown>
