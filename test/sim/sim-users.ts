import type { Tables } from '../../shared/adapters/memory/store/tables.ts'
import { AppError } from '../../shared/core/errors.ts'
import { isFinal, type RunStatus } from '../../shared/core/run.ts'
import { cancelRun } from '../../shared/engine/cancel-run.ts'
import { createRun, type FrontPorts } from '../../shared/engine/create-run.ts'
import { pauseRun } from '../../shared/engine/pause-run.ts'
import type { AttachmentPorts } from '../../shared/engine/read-attachments.ts'
import { resumeRun } from '../../shared/engine/resume-run.ts'
import { retryRun } from '../../shared/engine/retry-run.ts'
import { startRun } from '../../shared/engine/start-run.ts'
import type { Caller } from '../../shared/ports/identity.ts'
import type { FrontStore } from '../../shared/ports/store.ts'
import type { Surroundings } from './call-port.ts'
import type { Process } from './kernel.ts'

type Ports = FrontPorts & AttachmentPorts

/** Runs that follow from retries, beyond those that a world begins with. */
const MAX_RETRIES = 2
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
      tags: [],
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
    kernel.note('created', id)
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
    } else if (
      isFinal(status) &&
      status !== 'completed' &&
      this.#retries < MAX_RETRIES &&
      random.chance(0.1)
    ) {
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
    const verb = random.pick([cancelRun, pauseRun, startRun])
    const answer = await this.#ask('intrude', (ports) => verb(ports, stranger, runId))
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
