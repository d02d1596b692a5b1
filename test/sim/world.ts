import { isInUse } from '../../shared/adapters/memory/store/objects.ts'
import { createMemoryStore } from '../../shared/adapters/memory/store.ts'
import { isFinal, type RunStatus } from '../../shared/core/run.ts'
import { advanceRun } from '../../shared/engine/advance-run.ts'
import { jobToken } from '../../shared/engine/job-token.ts'
import type { StepDeps } from '../../shared/engine/step-deps.ts'
import { sweep } from '../../shared/engine/sweep.ts'
import type { Log } from '../../shared/ports/log.ts'
import type { Surroundings } from './call-port.ts'
import { type Fault, Faults } from './faults.ts'
import { Kernel, type Process } from './kernel.ts'
import { damage, type Mutant } from './mutants.ts'
import { Oracle } from './oracle.ts'
import { Random } from './random.ts'
import { SimBlobs } from './sim-blobs.ts'
import { SimCache } from './sim-cache.ts'
import { SimModel } from './sim-model.ts'
import { SimSandbox } from './sim-sandbox.ts'
import { SimScheduler } from './sim-scheduler.ts'
import { type CarriedOut, SimStore } from './sim-store.ts'
import { SimUsers } from './sim-users.ts'
import type { Verb } from './verbs.ts'

export interface WorldResult {
  seed: bigint
  /** Of everything that happened, in order: equal for two runs of one seed. */
  hash: string
  events: number
  /** Steps that ended. */
  steps: number
  statuses: RunStatus[]
  /** Codes of the runs that failed. */
  codes: string[]
  faults: ReadonlyMap<Fault, number>
  verbs: ReadonlyMap<Verb, number>
  violations: { what: string; detail: string; at_ms: number }[]
  virtual_ms: number
}

export interface WorldOptions {
  mutant?: Mutant | undefined
  trace?: ((line: string) => void) | undefined
  /** Every call that the store carried out. */
  record?: ((call: CarriedOut) => void) | undefined
}

/** More happens in no world; one that comes here runs in circles. */
const MAX_EVENTS = 60_000
const MAX_VIOLATIONS = 5
/** The second one is what it may be rotated to. */
const SECRETS = [
  'a secret of at least thirty-two characters',
  'another secret, as long as the first one',
] as const
const silent: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent }

/** One seed: a few runs of a few users amid faults, then without, until every run has ended. */
export async function runWorld(
  seed: bigint,
  { mutant, trace, record }: WorldOptions = {},
): Promise<WorldResult> {
  const random = new Random(seed)
  const faults = new Faults(random)
  const kernel = new Kernel()
  kernel.trace = trace
  const began_ms = kernel.now_ms
  const violations: WorldResult['violations'] = []
  const broken: Surroundings['broken'] = (what, detail) => {
    kernel.note('BROKEN', what, detail)
    violations.push({ what, detail, at_ms: kernel.now_ms - began_ms })
  }
  const around: Surroundings = { kernel, random, faults, broken }
  const memory = createMemoryStore({ now: () => kernel.now_ms, newId: () => random.uuid() })
  const store = mutant === undefined ? memory : damage(mutant, memory, () => kernel.now_ms * 1000)
  const oracle = new Oracle(around, memory, SECRETS)
  const simStore = new SimStore(around, store, oracle)
  simStore.record = record
  const cache = new SimCache(around)
  const blobs = new SimBlobs(around)
  let secret: string = SECRETS[0]
  kernel.skew = () => (faults.strikes('pod.clock_skew') ? random.between(-600_000, 600_000) : 0)
  const model = new SimModel(around)
  const burst = random.chance(0.4) ? { steps: random.between(2, 8), ms: 20_000 } : undefined
  const parallelCalls = random.chance(0.7)
    ? { run: random.between(1, 3), tenant: random.between(1, 4) }
    : undefined
  const leaseSeconds = random.pick([5, 15, 30])
  const stepDeadlineSeconds = random.pick([20, 40])

  const deps = (process: Process): StepDeps => ({
    store: simStore.step(process),
    scheduler: scheduler.for(process),
    cache: cache.for(process),
    model: model.for(process),
    sandbox: sandbox.for(process),
    blobs: blobs.blobs(process),
    artifacts: blobs.artifacts(process),
    objects: {
      remove: (objects) => blobs.remove(process, objects, (object) => isInUse(memory.tables, object)),
      confirm: (objects) => simStore.step(process).objectsRemoved({ objects }),
    },
    log: silent,
    newId: () => random.uuid(),
    today: () => '2026-01-01',
    settings: {
      leaseSeconds,
      stepDeadlineSeconds,
      approvalTools: new Set(),
      jobDeadlineSeconds: 60,
      jobStartSeconds: 30,
      maxTokens: 1000,
      maxFileBytes: 1_000_000,
      doorUrl: 'http://door.invalid',
      secret,
      ...(burst === undefined ? {} : { burst }),
      ...(parallelCalls === undefined ? {} : { parallelCalls }),
    },
  })
  const scheduler = new SimScheduler(around, (process, message) => advanceRun(deps(process), message))
  const sandbox = new SimSandbox(around, deps, (spec) => {
    const wait = memory.tables.runs.get(spec.runId)?.waits.get(spec.stepNumber)
    return wait?.kind === 'job' && wait.job_name === spec.name
  })
  oracle.onToolClaim = (runId, stepNumber) => {
    if (faults.strikes('job.callback_early', 0.3))
      void sandbox.early(runId, stepNumber, jobToken(secret, { runId, stepNumber }, 0))
  }
  const users = new SimUsers(around, {
    ports: (process) => ({
      store: simStore.front(process),
      cache: cache.for(process),
      scheduler: async () => scheduler.for(process),
      log: silent,
      attachments: () => Promise.reject(new Error('no attachments here')),
      blobs: async () => blobs.blobs(process),
      projects: [],
      attachmentLimits: { maxCount: 0, maxBytes: 0, maxTotalBytes: 0 },
    }),
    tables: memory.tables,
  })
  oracle.onStatus = (runId, status) => {
    users.onStatus(runId, status)
    soon()
  }

  // the sweeper: SQL by the database's own timer, and the function only when something is due
  const sweepEvery_ms = random.pick([5000, 20_000, 60_000])
  const faultyFor_ms = random.between(15_000, 600_000)
  let sweeping = kernel.after(sweepEvery_ms, tick)
  let sweeperLateUntil_ms = 0
  function soon(): void {
    const next_ms = kernel.now_ms + sweepEvery_ms
    if (sweeping.cancelled || sweeping.at_ms <= Math.max(next_ms, sweeperLateUntil_ms)) return
    sweeping.cancelled = true
    sweeping = kernel.after(sweepEvery_ms, tick)
  }
  function tick(): void {
    if (!simStore.down) {
      const { due } = store.sweep()
      record?.({ at_ms: kernel.now_ms, name: 'sweep', input: {}, answer: null })
      for (const id of memory.tables.runs.keys()) oracle.check(id)
      if (due > 0) {
        const process = kernel.spawn('sweep')
        kernel.as(process, () => sweep(deps(process))).catch(() => undefined)
      }
    }
    let wait_ms = sweepEvery_ms
    const active = [...memory.tables.runs.values()].some(
      ({ queue, steps }) =>
        [...queue.values()].some(({ publish_at }) => publish_at !== null) ||
        steps.some(({ state }) => state === 'settling'),
    )
    // nothing but deadlines is to come of runs that are held
    if (!active && kernel.now_ms > users.quietAfter_ms) {
      const deadlines = [...memory.tables.runs.values()].flatMap(({ run }) =>
        run.deadline_at === null ? [] : [run.deadline_at / 1000],
      )
      deadlines.push(...users.returns_ms.filter((at_ms) => at_ms > kernel.now_ms), ...removals())
      wait_ms = Math.max(wait_ms, Math.min(...deadlines, kernel.now_ms + 40 * 86_400_000) - kernel.now_ms + 1)
    }
    if (faults.strikes('sweeper.late', 0.2)) {
      wait_ms = Math.max(wait_ms, random.between(600_000, 5_400_000))
      sweeperLateUntil_ms = kernel.now_ms + wait_ms
      oracle.sweeperLate = true
    }
    sweeping = kernel.after(wait_ms, tick)
    if (faults.stopped) oracle.checkTime(stoppedAt_ms, sweepEvery_ms)
  }

  /** When something is next to be done about what has to be removed. */
  function removals(): number[] {
    const { objectsToRemove, jobsToRemove } = memory.tables
    return [
      ...[...objectsToRemove.values()].map(({ removed_at, handed_at, not_before }) =>
        removed_at !== null ? removed_at / 1000 + 600_000 : (handed_at ?? not_before) / 1000 + 60_000,
      ),
      ...[...jobsToRemove.values()].map(({ requested_at }) => requested_at / 1000),
    ]
  }

  if (faults.strikes('pod.key_rotated', 3))
    kernel.after(random.between(0, faultyFor_ms), () => {
      secret = SECRETS[1]
    })
  let stoppedAt_ms = Number.POSITIVE_INFINITY
  function calm(): void {
    faults.stopped = true
    stoppedAt_ms = kernel.now_ms
    sweeperLateUntil_ms = 0
    kernel.note('faults stop')
    soon()
    // once it has run, nothing may be silent any more
    kernel.after(2 * sweepEvery_ms, () => {
      oracle.sweeperLate = false
    })
  }
  kernel.after(faultyFor_ms, calm)
  // whoever comes back when bytes go meets a second storm
  users.onReturn = (at_ms) => {
    kernel.after(at_ms - kernel.now_ms, () => {
      faults.stopped = false
      stoppedAt_ms = Number.POSITIVE_INFINITY
      kernel.note('faults again')
    })
    kernel.after(at_ms - kernel.now_ms + 600_000, calm)
  }
  users.begin()
  const done = () =>
    users.created &&
    memory.tables.objectsToRemove.size + memory.tables.jobsToRemove.size === 0 &&
    [...memory.tables.runs.values()].every(
      ({ run, steps }) => isFinal(run.status) && steps.every(({ state }) => state === 'done'),
    )
  await kernel.run(
    () => violations.length < MAX_VIOLATIONS && kernel.events < MAX_EVENTS && !(faults.stopped && done()),
  )
  if (kernel.events >= MAX_EVENTS) broken('every world ends', `${MAX_EVENTS} events`)
  else if (!done() && violations.length === 0) broken('every run ends', 'nothing is to come')
  for (const { invariant, run_id, detail } of memory.violations()) broken(invariant, `${run_id} ${detail}`)
  for (const id of memory.tables.runs.keys()) oracle.check(id)
  if (violations.length === 0) {
    await users.checkHistory(memory.front)
    oracle.checkBytes(blobs.bytes, blobs.published)
  }
  return {
    seed,
    hash: kernel.hash,
    events: kernel.events,
    steps: oracle.steps,
    statuses: [...oracle.statuses.values()],
    codes: [...oracle.codes.values()],
    verbs: oracle.verbs,
    faults: faults.counts,
    violations,
    virtual_ms: kernel.now_ms - began_ms,
  }
}
