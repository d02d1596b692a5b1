import type { Tables } from '../../shared/adapters/memory/store/tables.ts'
import { BULK_VERBS } from '../../shared/core/bulk-verbs.ts'
import { AppError } from '../../shared/core/errors.ts'
import { isFinal, type RunStatus } from '../../shared/core/run.ts'
import { bulkRuns } from '../../shared/engine/bulk-runs.ts'
import { cancelRun } from '../../shared/engine/cancel-run.ts'
import { createRun } from '../../shared/engine/create-run.ts'
import { deleteRun } from '../../shared/engine/delete-run.ts'
import { forkRun, type VerbPorts } from '../../shared/engine/fork-run.ts'
import { pauseRun } from '../../shared/engine/pause-run.ts'
import type { AttachmentPorts } from '../../shared/engine/read-attachments.ts'
import { resumeRun } from '../../shared/engine/resume-run.ts'
import { retryRun } from '../../shared/engine/retry-run.ts'
import { retryStep } from '../../shared/engine/retry-step.ts'
import { startRun } from '../../shared/engine/start-run.ts'
import type { Caller } from '../../shared/ports/identity.ts'
import type { FrontStore } from '../../shared/ports/store.ts'
import type { Surroundings } from './call-port.ts'
import type { Process } from './kernel.ts'

type Ports = VerbPorts & AttachmentPorts

/** Runs that follow from retries and forks, beyond those that a world begins with. */
const MAX_RETRIES = 3
const TAG = 'batch'
/** When the bytes of a deleted run go: somebody who writes the same just then meets their removal. */
const BYTES_GO_MS = 25 * 3_600_000
/** A request that nobody answers is made again so often; while faults are on that is enough for nearly all. */
const TRIES = 12

/** People: they ask, answer, change their minds, fall silent, repeat themselves, and look at what is not theirs. */
export class SimUsers {
  readonly #around: Surroundings
  readonly #ports: (process: Process) => Ports
  readonly #tables: Tables
  readonly #callers: Caller[]
  readonly #silent = new Set<string>()
  #open = 0
  #retries = 0
  /** From then on nobody does anything by himself. */
  quietAfter_ms = 0
  /** When somebody comes back long after he deleted something. */
  readonly returns_ms: number[] = []
  onReturn: (at_ms: number) => void = () => undefined

  constructor(
    around: Surroundings,
    { ports, tables }: { ports: (process: Process) => Ports; tables: Tables },
  ) {
    this.#around = around
    this.#ports = ports
    this.#tables = tables
    const { random } = around
    const tenant_id = random.chance(0.5) ? random.uuid() : null
    this.#callers = Array.from({ length: random.between(1, 2) }, () => ({
      issuer: 'https://users.example/auth/v1',
      sub: random.uuid(),
      tenant_id,
      user_id_from: 'sub',
      accessToken: '',
      expiresAt: 0,
      projectUrl: null,
      projectKey: null,
    }))
  }

  /** Whether every request to create a run has been answered. */
  get created(): boolean {
    return this.#open === 0
  }

  begin(): void {
    const { kernel, random } = this.#around
    const runs = random.between(1, 3)
    for (let n = 0; n < runs; n++) {
      this.#open += 1
      const delay_ms = random.between(0, 30_000)
      this.quietAfter_ms = Math.max(this.quietAfter_ms, kernel.now_ms + delay_ms)
      kernel.after(delay_ms, () => void this.#create(random.pick(this.#callers as [Caller, ...Caller[]])))
    }
  }

  async #create(caller: Caller): Promise<void> {
    const { random, faults, kernel, broken } = this.#around
    const options = {
      limits: { max_steps: random.between(4, 40), timeout_seconds: random.between(120, 3600) },
      openingCredits: random.chance(0.15) ? random.between(3, 40) : 2000,
      idempotency: { key: random.uuid(), body_sha256: 'b' },
    }
    const command = {
      action: 'create' as const,
      prompt: 'please',
      mode: 'custom' as const,
      project_id: null,
      connector_ids: [],
      metadata: {},
      memory_context: null,
      tags: random.chance(0.5) ? [TAG] : [],
      attachments: [],
      auto_start: random.chance(0.8),
    }
    const create = () => this.#ask('create', (ports) => createRun(ports, caller, command, options))
    const answer = await create()
    this.#open -= 1
    if (answer === undefined) return
    const { id } = answer.run
    if (faults.strikes('user.repeat', 3)) {
      const again = await create()
      if (again !== undefined && again.run.id !== id)
        broken('one key is one run', `${id} and ${again.run.id}`)
    }
    if (!command.auto_start) await this.#ask('start', (ports) => startRun(ports, caller, id))
    if (faults.strikes('user.cancel', 2))
      this.#later(random.between(0, 60_000), () =>
        this.#ask('cancel', (ports) => cancelRun(ports, caller, id)),
      )
    if (faults.strikes('user.pause', 2))
      this.#later(random.between(0, 60_000), () => this.#ask('pause', (ports) => pauseRun(ports, caller, id)))
    if (faults.strikes('user.intruder', 2))
      this.#later(random.between(0, 60_000), () => this.#intrude({ ...caller, sub: random.uuid() }, id))
    this.#changesHisMind(caller, id)
    kernel.note('created', id)
  }

  /** Verbs that may come at any moment of a run, also when they make no sense. */
  #changesHisMind(caller: Caller, id: string): void {
    const { random, faults } = this.#around
    const soon = () => random.between(0, 90_000)
    if (faults.strikes('user.fork', 3)) this.#making(soon(), () => this.#fork(caller, id))
    if (faults.strikes('user.retry_step', 6)) {
      const [first, rest] = [soon(), random.between(0, 3)]
      for (let n = 0; n <= rest; n++) this.#making(first + n * 5000, () => this.#retryStep(caller, id))
    }
    if (faults.strikes('user.delete', 2)) this.#later(soon(), () => this.#delete(caller, id))
    if (faults.strikes('user.bulk', 3)) {
      const verb = random.pick(BULK_VERBS)
      this.#making(soon(), () => this.#bulk(caller, verb))
      // what was held goes on
      if (verb === 'pause') this.#making(100_000, () => this.#bulk(caller, 'resume'))
    }
  }

  /** Something that may make a run: the world does not end before it has been answered. */
  #making(delay_ms: number, work: () => Promise<unknown>): void {
    this.#open += 1
    this.#later(delay_ms, async () => {
      await work()
      this.#open -= 1
    })
  }

  async #fork(caller: Caller, run_id: string): Promise<void> {
    const { random } = this.#around
    const steps = this.#tables.runs.get(run_id)?.steps ?? []
    if (this.#retries >= MAX_RETRIES) return
    this.#retries += 1
    const from_step = random.between(0, steps.length)
    const isModel = steps[from_step]?.kind === 'model'
    const message = random.chance(isModel ? 0.6 : 0.1) ? `edited ${random.between(0, 9)}` : null
    const terms = this.#terms('f')
    await this.#ask('fork', (ports) => forkRun(ports, caller, { run_id, from_step, message }, terms))
  }

  async #retryStep(caller: Caller, run_id: string): Promise<void> {
    const { random } = this.#around
    const steps = this.#tables.runs.get(run_id)?.steps ?? []
    const likely = steps.filter(
      ({ state, status, last_error }) =>
        (state === 'open' && last_error !== null) || status === 'failed' || status === 'cancelled',
    )
    const [first, ...others] = random.chance(0.9) ? likely : steps
    if (first === undefined || this.#retries >= MAX_RETRIES) return
    const { step_number, state } = random.pick([first, ...others])
    if (state !== 'open') this.#retries += 1
    const terms = this.#terms('s')
    await this.#ask('retry step', (ports) => retryStep(ports, caller, { run_id, step_number }, terms))
  }

  async #delete(caller: Caller, run_id: string): Promise<void> {
    const { kernel, random, faults } = this.#around
    const answer = await this.#ask('delete', (ports) => deleteRun(ports, caller, run_id))
    if (answer === undefined || this.returns_ms.length > 0 || !faults.strikes('user.returns', 50)) return
    this.onReturn(kernel.now_ms + BYTES_GO_MS - 60_000)
    for (let n = 0; n < 6; n++) {
      const delay_ms = BYTES_GO_MS + random.between(-30_000, 240_000)
      this.returns_ms.push(kernel.now_ms + delay_ms)
      this.#open += 1
      kernel.after(delay_ms, () => {
        this.quietAfter_ms = Math.max(this.quietAfter_ms, kernel.now_ms)
        void this.#create(caller)
      })
    }
  }

  async #bulk(caller: Caller, verb: (typeof BULK_VERBS)[number]): Promise<void> {
    const terms = { limits: { max_steps: 20, timeout_seconds: 900 }, openingCredits: 1 }
    await this.#ask('bulk', (ports) => bulkRuns(ports, caller, { tag: TAG, verb }, terms))
  }

  #terms(body_sha256: string) {
    const limits = { max_steps: 20, timeout_seconds: 900 }
    return { limits, idempotency: { key: this.#around.random.uuid(), body_sha256 } }
  }

  #later(delay_ms: number, work: () => Promise<unknown>): void {
    const { kernel } = this.#around
    this.quietAfter_ms = Math.max(this.quietAfter_ms, kernel.now_ms + delay_ms)
    kernel.after(delay_ms, () => void work())
  }

  /** What people do when they see a run's status. */
  onStatus(runId: string, status: RunStatus): void {
    const { random, faults } = this.#around
    const userId = this.#tables.runs.get(runId)?.run.user_id
    const caller = this.#callers.find(({ sub }) => sub === userId)
    if (caller === undefined || this.#silent.has(runId)) return
    if (status === 'waiting_user' || status === 'paused') {
      if (faults.strikes('user.silent', 3)) {
        this.#silent.add(runId)
        return
      }
      const user_input = random.chance(status === 'paused' ? 0.3 : 0.9) ? 'the red one' : null
      this.#later(random.between(500, 120_000), async () => {
        await this.#ask('resume', (ports) => resumeRun(ports, caller, { run_id: runId, user_input }))
      })
      return
    }
    if (isFinal(status)) {
      if (faults.strikes('user.delete', 3))
        this.#later(random.between(500, 60_000), () => this.#delete(caller, runId))
      if (faults.strikes('user.fork', 2))
        this.#making(random.between(500, 60_000), () => this.#fork(caller, runId))
      if (faults.strikes('user.retry_step', 4))
        this.#making(random.between(500, 60_000), () => this.#retryStep(caller, runId))
      if (faults.strikes('user.bulk', 2)) {
        const verb = random.pick(['retry', 'delete'] as const)
        this.#making(random.between(500, 60_000), () => this.#bulk(caller, verb))
      }
    }
    if (isFinal(status) && status !== 'completed' && this.#retries < MAX_RETRIES && random.chance(0.1)) {
      this.#retries += 1
      const options = {
        limits: { max_steps: 20, timeout_seconds: 900 },
        openingCredits: 1,
        idempotency: { key: random.uuid(), body_sha256: 'r' },
      }
      this.#open += 1
      this.#later(random.between(500, 20_000), async () => {
        await this.#ask('retry', (ports) => retryRun(ports, caller, runId, options))
        this.#open -= 1
      })
    }
  }

  async #intrude(stranger: Caller, runId: string): Promise<void> {
    const { random, broken } = this.#around
    const terms = this.#terms('i')
    const verb = random.pick<(ports: Ports) => Promise<unknown>>([
      (ports) => cancelRun(ports, stranger, runId),
      (ports) => pauseRun(ports, stranger, runId),
      (ports) => startRun(ports, stranger, runId),
      (ports) => deleteRun(ports, stranger, runId),
      (ports) => forkRun(ports, stranger, { run_id: runId, from_step: 0, message: 'x' }, terms),
      (ports) => retryStep(ports, stranger, { run_id: runId, step_number: 0 }, terms),
    ])
    const answer = await this.#ask('intrude', verb)
    if (answer !== undefined) broken("nobody moves another user's run", runId)
  }

  /** A request by an invocation of its own, made again while nobody says yes or no; undefined when it was refused. */
  async #ask<T>(name: string, work: (ports: Ports) => Promise<T>): Promise<T | undefined> {
    const { kernel, random, faults, broken } = this.#around
    for (let tries = 0; ; tries++) {
      const process = kernel.spawn(`front ${name}`)
      const answer = await new Promise<{ value: T } | AppError>((resolve) => {
        process.onDeath = () => resolve(new AppError('unavailable', 'the connection was cut'))
        kernel
          .as(process, () => work(this.#ports(process)))
          .then(
            (value) => resolve({ value }),
            (error: unknown) => {
              if (!(error instanceof AppError)) {
                broken('only known errors', error instanceof Error ? (error.stack ?? '') : String(error))
                resolve(new AppError('internal', 'defect'))
              } else resolve(error)
            },
          )
      })
      if ('value' in answer) return answer.value
      if (answer.code !== 'unavailable' || (tries > TRIES && !faults.stopped)) return undefined
      const wait_ms = random.between(500, 10_000)
      this.quietAfter_ms = Math.max(this.quietAfter_ms, kernel.now_ms + wait_ms)
      await new Promise<void>((resolve) => kernel.after(wait_ms, resolve))
    }
  }

  /** A reader with Last-Event-ID: every event once, in order, its end once and last. */
  async checkHistory(front: FrontStore): Promise<void> {
    const { broken } = this.#around
    for (const { run } of this.#tables.runs.values()) {
      const caller = this.#callers.find(({ sub }) => sub === run.user_id)
      if (caller === undefined) continue
      const seen: { seq: number; event: unknown }[] = []
      for (let more = true; more; ) {
        const after_seq = seen.at(-1)?.seq ?? 0
        const page = await front.readEvents({ principal: caller, run_id: run.id, after_seq, limit: 7 })
        seen.push(...page.events.map(({ log }) => ({ seq: log.seq, event: log.metadata['event'] })))
        more = page.has_more
      }
      if (seen.some(({ seq }, n) => seq !== n + 1)) broken('a reader sees each event once, in order', run.id)
      if (seen.filter(({ event }) => event === 'final').length !== 1 || seen.at(-1)?.event !== 'final')
        broken('the end of a run is its last event', run.id)
    }
  }
}
