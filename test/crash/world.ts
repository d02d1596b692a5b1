import { createMemoryCache } from '../../shared/adapters/memory/cache.ts'
import { createMemoryModel } from '../../shared/adapters/memory/model.ts'
import type { RunStatus } from '../../shared/core/run.ts'
import type { FrontPorts } from '../../shared/engine/create-run.ts'
import type { VerbPorts } from '../../shared/engine/fork-run.ts'
import type { AttachmentPorts } from '../../shared/engine/read-attachments.ts'
import type { StepDeps } from '../../shared/engine/step-deps.ts'
import type { Caller } from '../../shared/ports/identity.ts'
import type { JobSpec, JobState, Sandbox } from '../../shared/ports/sandbox.ts'
import type { Claim, StepStore } from '../../shared/ports/store.ts'
import { advanceDatabase } from '../engine/advance-database.ts'
import { SECRET, silentLog } from '../engine/harness.ts'
import { type Bench, uuid } from './bench.ts'
import { type Fault, Invocation, Meter } from './invocation.ts'
import { Queue } from './queue.ts'
import { replyOf, type Scenario } from './scenarios.ts'

/** Long enough that no timer of a lease runs in a case; its end is brought about by moving the time. */
const LEASE_SECONDS = 30

/** Everything around one run: what lives longer than a process of ours. */
export class World {
  readonly caller: Caller = {
    issuer: 'https://users.example/auth/v1',
    sub: uuid(),
    tenant_id: null,
    user_id_from: 'sub',
    accessToken: 'unused',
    expiresAt: 4_000_000_000,
    projectUrl: null,
    projectKey: null,
  }
  readonly meter: Meter
  readonly queue: Queue
  /** Seconds that have passed here; the database's rows are moved along. */
  now = 0
  /** The run, and the one that a retry or a fork made. */
  readonly runIds: string[] = []
  /** Requests to the model by `run step`, and those that it answered. */
  readonly asked = new Map<string, number>()
  readonly paid = new Map<string, number>()
  readonly jobs = new Map<string, JobSpec>()
  /** Executions by name of job. */
  readonly executed = new Map<string, number>()
  readonly endedJobs = new Set<string>()
  asking: number | undefined
  /** What the owner of the run does while the model answers. */
  whileAsking: () => Promise<void> = () => Promise.resolve()
  /** Frozen invocations come to rest when the meter opens. */
  readonly resting: Promise<unknown>[] = []
  readonly #bench: Bench
  readonly #scenario: Scenario
  readonly #cache = createMemoryCache()
  readonly #sandbox: Sandbox

  constructor(
    bench: Bench,
    scenario: Scenario,
    { faults, repeats }: { faults: readonly Fault[]; repeats: boolean },
  ) {
    this.#bench = bench
    this.#scenario = scenario
    this.meter = new Meter(faults)
    this.queue = new Queue(() => this.now, repeats)
    this.#sandbox = {
      create: (job) => {
        if (this.jobs.has(job.name)) return Promise.resolve('exists')
        this.jobs.set(job.name, job)
        return Promise.resolve('created')
      },
      inspect: (name) => Promise.resolve(this.#stateOf(name)),
      remove: (name) => {
        this.jobs.delete(name)
        return Promise.resolve()
      },
    }
  }

  get sql(): Bench['sql'] {
    return this.#bench.sql
  }

  get runId(): string {
    return this.runIds.at(-1) ?? ''
  }

  #stateOf(name: string): JobState {
    if (!this.jobs.has(name)) return { state: 'missing' }
    return this.#scenario.jobs === 'gone' ? { state: 'failed', reason: 'OOMKilled' } : { state: 'running' }
  }

  async status(): Promise<RunStatus | 'deleted'> {
    const [row] = await this.sql('select status from public.agent_runs where id = $1', [this.runId])
    return (row?.['status'] ?? 'deleted') as RunStatus | 'deleted'
  }

  /** What the run asked its owner to allow, answered or not. */
  async approvalId(): Promise<string> {
    const [row] = await this.sql('select id from private.approvals where run_id = $1', [this.runId])
    return String(row?.['id'])
  }

  /** A process of the step service. */
  async asStep<T>(work: (deps: StepDeps) => Promise<T>, stepNumber?: number): Promise<T> {
    const invocation = new Invocation(this.meter)
    const bench = this.#bench
    // in a burst a commit hands back the next step
    let working = stepNumber
    const follow = async <T extends object>(answer: Promise<T>): Promise<T> => {
      const given = await answer
      working = (given as { claim?: Claim }).claim?.step.step_number ?? working
      return given
    }
    const store: StepStore = {
      ...bench.step,
      claimStep: (asked) => follow(bench.step.claimStep(asked)),
      commitStep: (asked) => follow(bench.step.commitStep(asked)),
    }
    const model = createMemoryModel(async (request) => {
      const key = `${this.runId} ${working}`
      const times = (this.asked.get(key) ?? 0) + 1
      this.asked.set(key, times)
      this.asking = working
      await this.whileAsking()
      this.asking = undefined
      const reply = replyOf(this.#scenario, request, { times, run: this.runIds.length - 1 })
      if (!(reply instanceof Error)) this.paid.set(key, (this.paid.get(key) ?? 0) + 1)
      return reply
    })
    const deps: StepDeps = {
      store: invocation.wrap('store', store),
      scheduler: invocation.wrap('scheduler', { publish: (list) => this.queue.publish(list) }),
      cache: invocation.wrap('cache', this.#cache),
      model: invocation.wrap('model', { turn: (request, options) => model.turn(request, options) }),
      sandbox: invocation.wrap('sandbox', this.#sandbox),
      blobs: invocation.wrap('blobs', bench.blobs),
      artifacts: invocation.wrap('artifacts', bench.artifacts),
      log: silentLog,
      newId: uuid,
      today: () => '2026-01-01',
      settings: {
        leaseSeconds: LEASE_SECONDS,
        stepDeadlineSeconds: 20,
        burst: { steps: this.#scenario.burst ?? 1, ms: 10_000 },
        approvalTools: new Set(this.#scenario.approvalTools),
        jobDeadlineSeconds: 60,
        jobStartSeconds: 30,
        maxTokens: 1000,
        maxFileBytes: 1_000_000,
        doorUrl: 'http://door.invalid',
        secret: SECRET,
      },
    }
    const { outcome, settled } = invocation.run(() => work(deps))
    this.resting.push(settled)
    return await outcome
  }

  /** A process of the execute service. */
  async asFront<T>(work: (ports: FrontPorts & VerbPorts & AttachmentPorts) => Promise<T>): Promise<T> {
    const invocation = new Invocation(this.meter)
    const scheduler = invocation.wrap('scheduler', {
      publish: (list: Parameters<Queue['publish']>[0]) => this.queue.publish(list),
    })
    const { outcome, settled } = invocation.run(() =>
      work({
        store: invocation.wrap('front', this.#bench.front),
        cache: invocation.wrap('cache', this.#cache),
        scheduler: () => Promise.resolve(scheduler),
        log: silentLog,
        blobs: () => Promise.resolve(this.#bench.blobs),
        attachments: () => Promise.reject(new Error('no attachments here')),
        attachmentLimits: { maxCount: 1, maxBytes: 1, maxTotalBytes: 1 },
        projects: [],
      }),
    )
    this.resting.push(settled)
    return await outcome
  }

  async pass(seconds: number): Promise<void> {
    this.now += seconds
    await advanceDatabase(this.sql, seconds)
  }
}
