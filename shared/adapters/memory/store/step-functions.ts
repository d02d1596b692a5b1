import { AppError } from '../../../core/errors.ts'
import { READS_PROTOCOL, WRITES_PROTOCOL } from '../../../core/protocol.ts'
import type { CommitAnswer, Fence, ObjectStore, StepStore } from '../../../ports/store.ts'
import { applyCommit } from './apply-commit.ts'
import { claimNext } from './claim-next.ts'
import { claimStep } from './claim-step.ts'
import { settleStep } from './credits.ts'
import { currentFiles } from './files.ts'
import { keepBlobs, objectsRemoved } from './objects.ts'
import { calledUp, leaveSlot } from './slots.ts'
import { publicationOf, unclaimed } from './steps.ts'
import { sweepDue } from './sweep.ts'
import { type Database, type RunTables, SECOND, type Step, type Wait } from './tables.ts'

type Call<Method extends keyof StepStore> = Parameters<StepStore[Method]>[0]
interface Held {
  tables: RunTables
  step: Step
}

/** The functions of 20261123000006_step.sql. Each runs without a break, so that it is one transaction. */
export function stepFunctions(db: Database) {
  /** The step of a fence, if the fence still holds. An open step also needs its lease: a lapsed holder writes nothing. */
  const fenced = ({ run_id, step_number, fence, token }: Fence): Held | undefined => {
    const tables = db.tables.runs.get(run_id)
    const step = tables?.steps[step_number]
    if (tables === undefined || step === undefined || step.fence !== fence || step.token !== token)
      return undefined
    return step.state !== 'open' || (step.lease_until ?? 0) > db.now() ? { tables, step } : undefined
  }

  const open = (fence: Fence): Held | undefined => {
    const held = fenced(fence)
    return held?.step.state === 'open' ? held : undefined
  }

  /** A writer whose run was deleted meanwhile is stale like any other. */
  const stale = ({ run_id }: { run_id: string }): CommitAnswer => {
    const run = db.tables.runs.get(run_id)?.run
    return {
      committed: false,
      run_status: run?.status ?? 'cancelled',
      publications: [],
      log_seq: run?.log_seq ?? 0,
    }
  }

  const queuedOf = ({ tables, step }: Held) => {
    const queued = tables.queue.get(step.step_number)
    if (queued === undefined) throw new Error('an open step is on the queue')
    return queued
  }

  const giveUp = (step: Step): void => {
    step.token = null
    step.lease_until = null
  }

  /** The wait that this token's job stands for. */
  const awaited = (call: Call<'startJob'>): { tables: RunTables; wait: Wait; step: Step } => {
    const tables = db.tables.runs.get(call.run_id)
    const step = tables?.steps[call.step_number]
    const wait = tables?.waits.get(call.step_number)
    if (tables === undefined || step === undefined || wait?.kind !== 'job') {
      // Not parked (yet): a step that exists and is open may be parked by a transaction on its way. Everything else is a stranger.
      if (step?.state === 'open' && step.kind === 'tool')
        throw new AppError('not_ready', 'The step is not waiting for this job yet', { retryAfterSeconds: 1 })
      throw new AppError('unauthorized', 'Unknown job')
    }
    if (wait.token_sha256 !== call.token_sha256) throw new AppError('unauthorized', 'Unknown job')
    if (tables.run.protocol > (call.protocol ?? READS_PROTOCOL)) {
      throw new AppError('not_ready', 'Only newer code can go on with this run', { retryAfterSeconds: 1 })
    }
    return { tables, wait, step }
  }

  /** With those that came up for the place of the step that ended. */
  const withCalled = (answer: CommitAnswer, tenant: string): CommitAnswer => ({
    ...answer,
    publications: [...answer.publications, ...calledUp(db, tenant)],
  })

  const answered = () => new AppError('already_answered', 'This job has been answered')

  /** Closes the wait before the commit, which may end the run and then has no job to remove; open again when the commit is refused. */
  const closing = <T>(wait: Wait | undefined, work: () => T): T => {
    const before = wait?.finished_at ?? null
    if (wait !== undefined) wait.finished_at ??= db.now()
    try {
      return work()
    } catch (error) {
      if (wait !== undefined) wait.finished_at = before
      throw error
    }
  }

  return {
    claimStep: (input: Call<'claimStep'>) => claimStep(db, input),

    renewLease(input: Call<'renewLease'>) {
      const held = fenced(input)
      if (held === undefined) return { held: false, cancelled: false }
      if (held.step.state !== 'open') return { held: false, cancelled: true }
      held.step.lease_until = db.now() + input.lease_seconds * SECOND
      queuedOf(held).publish_at = held.step.lease_until + 2 * SECOND
      return { held: true, cancelled: false }
    },

    commitStep(input: Call<'commitStep'>): CommitAnswer {
      const held = open(input)
      if (held === undefined) return stale(input)
      // a check that ends a job's wait closes it, so that a late callback finds its answer taken
      const wait = held.tables.waits.get(input.step_number)
      const { run } = held.tables
      const slot = held.step.kind === 'tool' ? queuedOf(held).slot : null
      const answer = closing(wait, () => applyCommit(db, held.tables, held.step, input.commit))
      run.protocol = Math.max(run.protocol, input.protocol ?? WRITES_PROTOCOL)
      const claimed = input.burst ? claimNext(db, held.tables, answer, input.burst) : answer
      return slot === null ? claimed : withCalled(claimed, run.tenant_id)
    },

    releaseStep(input: Call<'releaseStep'>): CommitAnswer {
      const held = open(input)
      if (held === undefined) return stale(input)
      const { tables, step } = held
      const paused = tables.run.status === 'paused'
      giveUp(step)
      step.last_error = [...input.error].slice(0, 2000).join('')
      if (input.free && step.attempt > 0) step.attempt -= 1
      const queued = queuedOf(held)
      queued.due_at = db.now() + input.delay_seconds * SECOND
      queued.publication += 1
      queued.publish_at = paused ? null : queued.due_at + 20 * SECOND
      const called = leaveSlot(db, tables, queued)
      return {
        ...stale(input),
        committed: true,
        publications: [...(paused ? [] : [publicationOf(db, tables, queued)]), ...called],
      }
    },

    parkStep(input: Call<'parkStep'>): CommitAnswer {
      const held = open(input)
      if (held === undefined) return stale(input)
      const { tables, step } = held
      const now = db.now()
      // parking again keeps the deadline and the token
      if (!tables.waits.has(step.step_number)) {
        tables.waits.set(step.step_number, {
          step_number: step.step_number,
          kind: 'job',
          job_name: input.job_name,
          token_sha256: input.token_sha256,
          confirmed_at: null,
          deadline_at: now + input.deadline_seconds * SECOND,
          body_sha256: null,
          answer: null,
          finished_at: null,
        })
      }
      giveUp(step)
      const queued = queuedOf(held)
      queued.due_at = now + input.check_seconds * SECOND
      queued.publish_at = queued.due_at
      queued.publication += 1
      return { ...stale(input), committed: true }
    },

    startJob(input: Call<'startJob'>) {
      const { tables, wait, step } = awaited(input)
      if (wait.finished_at !== null) throw answered()
      wait.confirmed_at ??= db.now()
      const queued = queuedOf({ tables, step })
      queued.due_at = wait.deadline_at
      queued.publish_at = wait.deadline_at
      return {
        tool_name: step.tool_name,
        tool_input: step.tool_input,
        run_id: tables.run.id,
        user_id: tables.run.user_id,
        idempotency_key: step.idempotency_key,
        files: currentFiles(tables, { paths: null, under: null, limit: Number.POSITIVE_INFINITY }),
      }
    },

    checkJob({ run_id, step_number, token_sha256, sha256, storing }: Call<'checkJob'>) {
      const tables = db.tables.runs.get(run_id)
      const step = tables?.steps[step_number]
      const wait = tables?.waits.get(step_number)
      if (
        tables === undefined ||
        step === undefined ||
        wait?.kind !== 'job' ||
        wait.token_sha256 !== token_sha256
      )
        throw new AppError('unauthorized', 'Unknown job')
      if (storing && sha256 !== undefined) keepBlobs(db.tables, tables.run.user_id, [sha256])
      return {
        user_id: tables.run.user_id,
        step_id: step.step_id,
        cancelled: wait.finished_at !== null,
        owned: sha256 !== undefined && tables.files.some((file) => file.sha256 === sha256),
      }
    },

    finishJob(input: Call<'finishJob'>): CommitAnswer {
      const { tables, wait, step } = awaited(input)
      if (wait.body_sha256 !== null || wait.finished_at !== null) {
        // the first answer, with what its publish may have left behind
        if (wait.body_sha256 === input.body_sha256 && wait.answer !== null)
          return { ...wait.answer, publications: unclaimed(db, tables) }
        throw answered()
      }
      const { slot } = queuedOf({ tables, step })
      const answer = closing(wait, () => applyCommit(db, tables, step, input.commit))
      wait.body_sha256 = input.body_sha256
      wait.confirmed_at ??= db.now()
      wait.answer = answer
      return slot === null ? answer : withCalled(answer, tables.run.tenant_id)
    },

    settleAttempt(input: Call<'settleAttempt'>): void {
      const held = fenced(input)
      if (held?.step.state !== 'settling') return
      const { tables, step } = held
      const charged = settleStep(db, tables, step.step_number, input.used)
      step.state = 'done'
      giveUp(step)
      step.tokens_used = input.tokens_used
      step.credits_used_units = charged
      tables.run.total_tokens_used += input.tokens_used
      tables.run.credits_used_units += charged
    },

    readFiles({ run_id, ...what }: Call<'readFiles'>) {
      const tables = db.tables.runs.get(run_id)
      return tables === undefined ? [] : currentFiles(tables, what)
    },

    sweepDue: ({ limit }: Call<'sweepDue'>) => sweepDue(db, limit),
    objectsRemoved: ({ objects }: Parameters<ObjectStore['objectsRemoved']>[0]): void =>
      objectsRemoved(db, objects),
  }
}
