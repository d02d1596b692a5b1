import type { RunTables } from '../../shared/adapters/memory/store/tables.ts'
import {
  balanceViolations,
  removalViolations,
  runViolations,
} from '../../shared/adapters/memory/store/violations.ts'
import type { MemoryStore } from '../../shared/adapters/memory/store.ts'
import { isFinal, type RunStatus } from '../../shared/core/run.ts'
import { jobToken, sha256Hex } from '../../shared/engine/job-token.ts'
import type { BulkAnswer, Claim, ClaimAnswer, CommitAnswer, CreateAnswer } from '../../shared/ports/store.ts'
import type { Surroundings } from './call-port.ts'
import { checkFork } from './check-fork.ts'
import type { Verb } from './verbs.ts'

interface Holder {
  token: string
  until_ms: number
  attempts: number
}

/** Past its attempts a step fails. */
const MAX_ATTEMPTS = 5
/** Sweeper, lease, longest republish: nothing that is to go on stands still longer once faults have stopped (limits of the engine). */
const SILENCE_MS = 8 * 60_000
/** After these the whole store is looked at. */
const VERB_CALLS = new Set([
  'createRun',
  'retryRun',
  'forkRun',
  'retryStep',
  'deleteRun',
  'bulkRuns',
  'sweepDue',
])

function referredTo({ run, files, artifacts }: RunTables): string[] {
  return [
    ...files.map(({ sha256 }) => `agent-workspaces/${run.user_id}/${sha256}`),
    ...artifacts.map(({ storage_bucket, storage_key }) => `${storage_bucket}/${storage_key}`),
  ]
}

/** The history of a world, kept outside the store, and what it must not contain; the store's own invariants after every call. */
export class Oracle {
  readonly #around: Surroundings
  readonly #store: MemoryStore
  readonly #secrets: readonly string[]
  readonly #holders = new Map<string, Holder>()
  /** (run, step) to the body of the callback that ended it, '' for a commit. */
  readonly #committed = new Map<string, string>()
  readonly #finals = new Map<string, RunStatus>()
  readonly #moved_ms = new Map<string, number>()
  /** While the sweeper may be late by a fault, a run may be silent. */
  sweeperLate = false
  onStatus: (runId: string, status: RunStatus) => void = () => undefined
  /** A tool's step was claimed to be parked. */
  onToolClaim: (runId: string, stepNumber: number) => void = () => undefined
  /** Of every run that there was, also when it is deleted. */
  readonly statuses = new Map<string, RunStatus>()
  readonly codes = new Map<string, string>()
  readonly verbs = new Map<Verb, number>()
  readonly #deleted = new Set<string>()
  steps = 0

  constructor(around: Surroundings, store: MemoryStore, secrets: readonly string[]) {
    this.#around = around
    this.#store = store
    this.#secrets = secrets
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
        this.#did(name === 'startRun' ? 'start' : 'resume')
        break
      case 'createRun':
        this.#did('create')
        break
      case 'cancelRun':
        this.#did('cancel')
        break
      case 'pauseRun':
        this.#did('pause')
        break
      case 'retryRun':
        this.#did('retry')
        break
      case 'forkRun':
        this.#forked(input, answer as CreateAnswer, Number(input['from_step']))
        break
      case 'retryStep':
        this.#retriedStep(key, input, answer as CreateAnswer & { forked: boolean })
        break
      case 'deleteRun':
        this.#deletedRun(runId)
        this.#did('delete')
        break
      case 'bulkRuns':
        this.#bulk(String(input['verb']), answer as BulkAnswer)
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
    if (VERB_CALLS.has(name)) this.checkAll()
  }

  #did(verb: Verb): void {
    this.verbs.set(verb, (this.verbs.get(verb) ?? 0) + 1)
  }

  #forked(input: Record<string, unknown>, { run, replayed }: CreateAnswer, from: number): void {
    const message = (input['message'] ?? null) as string | null
    this.#did(message === null ? 'fork' : 'fork with a message')
    const { runs } = this.#store.tables
    const [source, fork] = [runs.get(String(input['run_id'])), runs.get(run.id)]
    if (replayed || source === undefined || fork === undefined) return
    const fault = checkFork(source, fork, { from, message })
    if (fault !== undefined)
      this.#around.broken('a fork neither loses nor doubles history', `${run.id} ${fault}`)
    this.#moved(run.id)
  }

  #retriedStep(
    key: string,
    input: Record<string, unknown>,
    answer: CreateAnswer & { forked: boolean },
  ): void {
    if (answer.forked) {
      this.#did('retry of a step by a fork')
      const at = { ...input, message: null }
      this.verbs.set('fork', (this.verbs.get('fork') ?? 0) - 1)
      this.#forked(at, answer, Number(input['step_number']))
      return
    }
    this.#did('retry of a step in place')
    const holder = this.#holders.get(key)
    if (holder !== undefined && holder.until_ms > this.#around.kernel.now_ms)
      this.#around.broken('a step in work is not retried', key)
    if (holder !== undefined) holder.attempts = 0
    this.#moved(key)
  }

  #bulk(verb: string, { results }: BulkAnswer): void {
    const changed = results.flatMap(({ ok, run_id }) => (ok ? [run_id] : []))
    if (changed.length > 0) this.#did(`bulk ${verb}` as Verb)
    for (const id of changed) {
      if (verb === 'delete') this.#deletedRun(id)
      else this.#moved(id)
    }
  }

  #deletedRun(id: string): void {
    this.#deleted.add(id)
    // the key that it was made with stays for its day, so that a late repeat makes nothing
    const { runs, tickets } = this.#store.tables
    const left = runs.has(id) || [...tickets.values()].some(({ run_id }) => run_id === id)
    if (left) this.#around.broken('a deleted run leaves nothing', id)
  }

  /** A run just before it goes: what it alone refers to must be listed when it is gone. */
  beforeDelete(runId: string): () => void {
    const { tables } = this.#store
    const gone = tables.runs.get(runId)
    if (gone === undefined) return () => undefined
    const { user_id } = gone.run
    const objects = [
      ...gone.files.map(({ sha256 }) => `agent-workspaces/${user_id}/${sha256}`),
      ...gone.artifacts.map(({ storage_bucket, storage_key }) => `${storage_bucket}/${storage_key}`),
    ]
    return () => {
      if (tables.runs.has(runId)) return
      const kept = new Set([...tables.runs.values()].flatMap((run) => referredTo(run)))
      for (const object of objects)
        if (!kept.has(object) && !tables.objectsToRemove.has(object))
          this.#around.broken('bytes that nothing refers to are removed', object)
    }
  }

  /** What a verb may have changed beyond its own run. */
  checkAll(): void {
    const { tables } = this.#store
    for (const id of tables.runs.keys()) this.check(id)
    for (const { invariant, detail } of [...balanceViolations(tables), ...removalViolations(tables)])
      this.#around.broken(invariant, detail)
  }

  /** In the end every file that a run has, or had, is there, and nothing that it handed to its user is missing. */
  checkBytes(blobs: ReadonlyMap<string, unknown>, published: ReadonlySet<string>): void {
    for (const tables of this.#store.tables.runs.values()) {
      for (const { sha256, path } of tables.files)
        if (!blobs.has(`${tables.run.user_id}/${sha256}`))
          this.#around.broken('bytes in use are never removed', `${tables.run.id} ${path}`)
      for (const { storage_key } of tables.artifacts)
        if (!published.has(storage_key))
          this.#around.broken('artifacts in use are never removed', `${tables.run.id} ${storage_key}`)
    }
  }

  #claimed(key: string, { step, run }: Claim): void {
    const { kernel, broken } = this.#around
    const before = this.#holders.get(key)
    if (before !== undefined && before.until_ms > kernel.now_ms) broken('one holder at a time', key)
    if (this.#committed.has(key)) broken('a step that ended is not claimed', key)
    if (this.#deleted.has(run.id)) broken('a deleted run leaves nothing', key)
    if (isFinal(run.status)) broken('nothing is claimed after the end', key)
    const attempts = (before?.attempts ?? 0) + Number(step.job === null)
    if (attempts > MAX_ATTEMPTS) broken('at most five attempts', key)
    if (step.kind === 'tool' && step.job === null) this.onToolClaim(step.run_id, step.step_number)
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
    const expected = this.#secrets.map((secret) =>
      sha256Hex(jobToken(secret, { runId, stepNumber: Number(number) }, 0)),
    )
    if (!expected.includes(String(input['token_sha256'])))
      this.#around.broken('a forged callback changes nothing', key)
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
    if (this.#deleted.has(runId)) broken('a deleted run stays gone', runId)
    const { status } = tables.run
    const final = this.#finals.get(runId)
    if (final !== undefined && final !== status)
      broken('a final status never changes', `${runId} ${final} to ${status}`)
    if (isFinal(status)) this.#finals.set(runId, status)
    for (const { invariant, detail } of runViolations(tables, kernel.now_ms * 1000)) {
      if (invariant === 'no run is silent' && this.sweeperLate) continue
      broken(invariant, `${runId} ${detail}`)
    }
    if (this.statuses.get(runId) === status) return
    this.statuses.set(runId, status)
    if (tables.run.error_code !== null) this.codes.set(runId, tables.run.error_code)
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
      const { created_at, held_at } = run
      const moved_ms = Math.max(
        since_ms,
        this.#moved_ms.get(id) ?? 0,
        created_at / 1000,
        (held_at ?? 0) / 1000,
      )
      if (['queued', 'planning', 'executing'].includes(run.status) && kernel.now_ms - moved_ms > SILENCE_MS)
        broken('no run stands still', `${id} is ${run.status}`)
    }
  }
}
