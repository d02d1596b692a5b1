import { runViolations } from '../../shared/adapters/memory/store/violations.ts'
import type { MemoryStore } from '../../shared/adapters/memory/store.ts'
import { isFinal, type RunStatus } from '../../shared/core/run.ts'
import { jobToken, sha256Hex } from '../../shared/engine/job-token.ts'
import type { Claim, ClaimAnswer, CommitAnswer } from '../../shared/ports/store.ts'
import type { Surroundings } from './call-port.ts'

interface Holder {
  token: string
  until_ms: number
  attempts: number
}

/** Past its attempts a step fails. */
const MAX_ATTEMPTS = 5
/** Sweeper, lease, longest republish: nothing that is to go on stands still longer once faults have stopped (limits of the engine). */
const SILENCE_MS = 8 * 60_000

/** The history of a world, kept outside the store, and what it must not contain; the store's own invariants after every call. */
export class Oracle {
  readonly #around: Surroundings
  readonly #store: MemoryStore
  readonly #secret: string
  readonly #holders = new Map<string, Holder>()
  /** (run, step) to the body of the callback that ended it, '' for a commit. */
  readonly #committed = new Map<string, string>()
  readonly #finals = new Map<string, RunStatus>()
  readonly #moved_ms = new Map<string, number>()
  /** While the sweeper may be late by a fault, a run may be silent. */
  sweeperLate = false
  onStatus: (runId: string, status: RunStatus) => void = () => undefined
  readonly #statuses = new Map<string, RunStatus>()
  steps = 0

  constructor(around: Surroundings, store: MemoryStore, secret: string) {
    this.#around = around
    this.#store = store
    this.#secret = secret
  }

  /** A call was carried out, whether or not its caller will ever know. */
  done(name: string, input: Record<string, unknown>, answer: unknown): void {
    const runId = String(input['run_id'] ?? '')
    const key = `${runId}:${String(input['step_number'])}`
    const now = this.#around.kernel.now_ms
    switch (name) {
      case 'claimStep':
        if ('claim' in (answer as ClaimAnswer)) this.#claimed(key, (answer as { claim: Claim }).claim)
        break
      case 'resumeRun':
      case 'startRun':
        this.#moved(key)
        break
      case 'renewLease': {
        const holder = this.#holders.get(key)
        if ((answer as { held: boolean }).held && holder !== undefined)
          holder.until_ms = now + Number(input['lease_seconds']) * 1000
        break
      }
      case 'commitStep':
      case 'releaseStep':
      case 'parkStep':
        if ((answer as CommitAnswer).committed) this.#written(name, key, input, answer as CommitAnswer)
        break
      case 'finishJob':
        this.#finished(key, input)
        break
    }
    if (runId !== '') this.check(runId)
  }

  #claimed(key: string, { step, run }: Claim): void {
    const { kernel, broken } = this.#around
    const before = this.#holders.get(key)
    if (before !== undefined && before.until_ms > kernel.now_ms) broken('one holder at a time', key)
    if (this.#committed.has(key)) broken('a step that ended is not claimed', key)
    if (isFinal(run.status)) broken('nothing is claimed after the end', key)
    const attempts = (before?.attempts ?? 0) + Number(step.job === null)
    if (attempts > MAX_ATTEMPTS) broken('at most five attempts', key)
    this.#holders.set(key, {
      token: step.token,
      until_ms: kernel.now_ms + step.lease_seconds * 1000,
      attempts,
    })
    this.#moved(key)
  }

  #written(name: string, key: string, input: Record<string, unknown>, answer: CommitAnswer): void {
    const { kernel, broken } = this.#around
    const holder = this.#holders.get(key)
    if (holder === undefined || holder.token !== input['token'] || holder.until_ms <= kernel.now_ms)
      broken('only the holder of a live lease writes', `${name} of ${key}`)
    if (this.#committed.has(key)) broken('a step ends once', key)
    if (holder !== undefined) {
      holder.until_ms = 0
      if (name === 'releaseStep' && input['free'] === true) holder.attempts -= 1
    }
    if (name === 'commitStep') this.#ended(key, '')
    this.#moved(key)
    if (answer.claim !== undefined)
      this.#claimed(`${answer.claim.step.run_id}:${answer.claim.step.step_number}`, answer.claim)
  }

  #finished(key: string, input: Record<string, unknown>): void {
    const [runId = '', number = '0'] = key.split(':')
    const expected = sha256Hex(jobToken(this.#secret, { runId, stepNumber: Number(number) }, 0))
    if (input['token_sha256'] !== expected) this.#around.broken('a forged callback changes nothing', key)
    const body = String(input['body_sha256'])
    const before = this.#committed.get(key)
    if (before === body) return
    if (before !== undefined) this.#around.broken('a callback counts once', key)
    const holder = this.#holders.get(key)
    if (holder !== undefined) holder.until_ms = 0
    this.#ended(key, body)
    this.#moved(key)
  }

  #ended(key: string, body: string): void {
    this.#committed.set(key, body)
    this.steps += 1
  }

  #moved(key: string): void {
    this.#moved_ms.set(key.slice(0, 36), this.#around.kernel.now_ms)
  }

  /** The store's invariants for one run, and that its end is an end. */
  check(runId: string): void {
    const { kernel, broken } = this.#around
    const tables = this.#store.tables.runs.get(runId)
    if (tables === undefined) return
    const { status } = tables.run
    const final = this.#finals.get(runId)
    if (final !== undefined && final !== status)
      broken('a final status never changes', `${runId} ${final} to ${status}`)
    if (isFinal(status)) this.#finals.set(runId, status)
    for (const { invariant, detail } of runViolations(tables, kernel.now_ms * 1000)) {
      if (invariant === 'no run is silent' && this.sweeperLate) continue
      broken(invariant, `${runId} ${detail}`)
    }
    if (this.#statuses.get(runId) === status) return
    this.#statuses.set(runId, status)
    kernel.note('run', runId, status)
    this.onStatus(runId, status)
  }

  /** Called by the clock: runs that stand still or outlive their deadline. */
  checkTime(since_ms: number, sweepEvery_ms: number): void {
    const { kernel, broken } = this.#around
    for (const [id, { run }] of this.#store.tables.runs) {
      this.check(id)
      if (run.deadline_at !== null && run.deadline_at / 1000 < kernel.now_ms - 2 * sweepEvery_ms - 1000)
        broken('always ends within its bound', `${id} is ${run.status} after its deadline`)
      const moved_ms = Math.max(since_ms, this.#moved_ms.get(id) ?? 0, (run.held_at ?? 0) / 1000)
      if (['queued', 'planning', 'executing'].includes(run.status) && kernel.now_ms - moved_ms > SILENCE_MS)
        broken('no run stands still', `${id} is ${run.status}`)
    }
  }
}
