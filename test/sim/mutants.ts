import type { Queued, RunTables, Step } from '../../shared/adapters/memory/store/tables.ts'
import type { MemoryStore } from '../../shared/adapters/memory/store.ts'
import { AppError } from '../../shared/core/errors.ts'
import type { StepStore } from '../../shared/ports/store.ts'

/** Guards of the store, each taken away in turn: a simulation that does not notice proves nothing. */
export const MUTANTS = [
  'fence off',
  'expected step off',
  'lease off',
  'sweeper off',
  'deadlines off',
  'outbox off',
  'publication not raised',
  'attempts not counted',
  'group counter off',
  'callback counted twice',
  'callback token off',
  'job before its wait',
  'cancel not final',
  'refund forgotten',
  'log number skipped',
  'fork loses history',
  'fork doubles history',
  'fork is free',
  'delete leaves its bytes',
  'delete refunds',
  'bytes taken while they go',
  'bulk by halves',
  'retry of a step in work',
] as const
export type Mutant = (typeof MUTANTS)[number]

const YEAR_US = 365 * 86_400 * 1_000_000

/** The store without one of its guards: the state is turned round a call so that the guard finds nothing to refuse. */
export function damage(mutant: Mutant, memory: MemoryStore, now: () => number): MemoryStore {
  const { tables } = memory
  const at = (input: { run_id: string; step_number: number }) => {
    const run = tables.runs.get(input.run_id)
    const step = run?.steps[input.step_number]
    return run === undefined || step === undefined ? undefined : { run, step }
  }
  const around = <Name extends keyof StepStore>(
    name: Name,
    before: (input: Parameters<StepStore[Name]>[0]) => void,
    after: (
      input: Parameters<StepStore[Name]>[0],
      answer: Awaited<ReturnType<StepStore[Name]>>,
    ) => void = () => undefined,
  ): MemoryStore => {
    const method = memory.step[name] as (input: unknown) => Promise<Awaited<ReturnType<StepStore[Name]>>>
    const wrapped = async (input: Parameters<StepStore[Name]>[0]) => {
      before(input)
      const answer = await method(input)
      after(input, answer)
      return answer
    }
    return { ...memory, step: { ...memory.step, [name]: wrapped } }
  }
  const nothing = () => undefined
  const forking = (change: (fork: RunTables) => void): MemoryStore => ({
    ...memory,
    front: {
      ...memory.front,
      async forkRun(input) {
        const answer = await memory.front.forkRun(input)
        const fork = tables.runs.get(answer.run.id)
        if (fork !== undefined && !answer.replayed) change(fork)
        return answer
      },
    },
  })
  const deleting = (change: (before: RunTables | undefined) => void): MemoryStore => ({
    ...memory,
    front: {
      ...memory.front,
      async deleteRun(input) {
        const before = tables.runs.get(input.run_id)
        const answer = await memory.front.deleteRun(input)
        change(before)
        return answer
      },
    },
  })

  switch (mutant) {
    case 'fence off':
      return around('commitStep', (input) => {
        const found = at(input)
        if (found?.step.state === 'open') holdFor(found.step, input, now())
      })
    case 'expected step off':
      return around('commitStep', (input) => {
        const found = at(input)
        if (found?.step.state === 'done' && found.run.run.deadline_at !== null)
          reopen(found.run, found.step, input, now())
      })
    case 'lease off':
      return around('claimStep', (input) => {
        const found = at(input)
        if (found?.step.state === 'open') found.step.lease_until = null
      })
    case 'sweeper off':
      return {
        ...memory,
        sweep: () => ({ ended: 0, settled: 0, due: 0 }),
        step: { ...memory.step, sweepDue: async () => ({ publications: [], jobs_to_remove: [] }) },
      }
    case 'deadlines off':
      return {
        ...memory,
        sweep: () => withoutDeadlines(tables.runs.values(), () => memory.sweep()),
        step: {
          ...memory.step,
          sweepDue: (input) => withoutDeadlines(tables.runs.values(), () => memory.step.sweepDue(input)),
        },
      }
    case 'outbox off':
      // what a commit makes due is in its answer and nowhere else
      return around('commitStep', nothing, (_input, answer) => {
        for (const { run_id, step_number } of answer.publications) {
          const queued = tables.runs.get(run_id)?.queue.get(step_number)
          if (queued !== undefined) forget(queued)
        }
      })
    case 'publication not raised':
      return around('sweepDue', nothing, (_input, answer) => {
        for (const publication of answer.publications) {
          const queued = tables.runs.get(publication.run_id)?.queue.get(publication.step_number)
          publication.publication = Math.max(0, publication.publication - 1)
          if (queued !== undefined) queued.publication = publication.publication
        }
      })
    case 'attempts not counted':
      return around('claimStep', (input) => {
        const found = at(input)
        if (found !== undefined) found.step.attempt = Math.min(found.step.attempt, 2)
      })
    case 'group counter off':
      return around('commitStep', (input) => {
        const found = at(input)
        if (found?.step.kind === 'tool' && found.run.run.group_open > 1) found.run.run.group_open = 1
      })
    case 'callback counted twice':
      return around('finishJob', (input) => {
        const found = at(input)
        const wait = found?.run.waits.get(input.step_number)
        if (found === undefined || wait === undefined || found.run.run.deadline_at === null) return
        wait.body_sha256 = null
        wait.finished_at = null
        if (found.step.state === 'done')
          reopen(found.run, found.step, { fence: found.step.fence, token: '' }, now())
      })
    case 'callback token off':
      return around('finishJob', (input) => {
        const wait = at(input)?.run.waits.get(input.step_number)
        if (wait !== undefined) wait.token_sha256 = input.token_sha256
      })
    case 'job before its wait':
      return {
        ...memory,
        step: {
          ...memory.step,
          async parkStep(input) {
            const found = at(input)
            if (found?.run.waits.has(input.step_number)) return memory.step.parkStep(input)
            return { committed: true, run_status: 'executing', publications: [], log_seq: 0 }
          },
        },
      }
    case 'cancel not final':
      return {
        ...memory,
        front: {
          ...memory.front,
          async cancelRun(input) {
            const answer = await memory.front.cancelRun(input)
            const run = tables.runs.get(input.run_id)
            if (run?.steps.some(({ state }) => state === 'settling')) {
              for (const step of run.steps.filter(({ state }) => state === 'settling'))
                reopen(run, step, { fence: step.fence, token: step.token ?? '' }, now())
              run.run.status = 'executing'
            }
            return answer
          },
        },
      }
    case 'refund forgotten':
      return around('sweepDue', () => {
        for (const { ledger } of tables.runs.values()) {
          const refund = ledger.findIndex(({ kind }) => kind === 'refund')
          if (refund !== -1) ledger.splice(refund, 1)
        }
      })
    case 'log number skipped':
      return around('releaseStep', nothing, (input, { committed }) => {
        const found = at(input)
        if (committed && found !== undefined) found.run.run.log_seq += 1
      })
    case 'fork loses history':
      return forking(({ messages }) => void messages.pop())
    case 'fork doubles history':
      return forking(({ messages }) => void messages.push(...messages.slice(-1)))
    case 'fork is free':
      return forking(({ ledger, run }) => {
        const balance = tables.balances.get(run.user_id)
        for (const line of ledger) {
          if (balance !== undefined) balance.available -= line.available
          line.available = 0
        }
      })
    case 'delete leaves its bytes':
      return deleting(() => tables.objectsToRemove.clear())
    case 'delete refunds':
      return deleting((before) => {
        const balance = tables.balances.get(before?.run.user_id ?? '')
        for (const { used } of before?.ledger ?? []) if (balance !== undefined) balance.available += used
      })
    case 'bytes taken while they go': {
      // the list is turned round so that the guard finds nothing to refuse
      const unguarded = <I extends { commit: { files: { put: { sha256: string }[] } } }, O>(
        method: (input: I) => Promise<O>,
      ) => {
        return (input: I) => {
          const hashes = input.commit.files.put.map(({ sha256 }) => sha256)
          const hidden = [...tables.objectsToRemove].filter(([, { name }]) =>
            hashes.some((sha256) => name.endsWith(sha256)),
          )
          for (const [key] of hidden) tables.objectsToRemove.delete(key)
          const answer = method(input)
          for (const [key, object] of hidden) tables.objectsToRemove.set(key, object)
          return answer
        }
      }
      const { commitStep, finishJob } = memory.step
      return {
        ...memory,
        step: { ...memory.step, commitStep: unguarded(commitStep), finishJob: unguarded(finishJob) },
      }
    }
    case 'bulk by halves':
      return {
        ...memory,
        front: {
          ...memory.front,
          async bulkRuns(input) {
            const { results } = await memory.front.bulkRuns(input)
            if (results.length > 0) throw new AppError('unavailable', 'half way')
            return { results, publications: [], jobs: [], has_more: false }
          },
        },
      }
    case 'retry of a step in work':
      return {
        ...memory,
        front: {
          ...memory.front,
          async retryStep(input) {
            const step = tables.runs.get(input.run_id)?.steps[input.step_number]
            if (step?.state === 'open') step.lease_until = null
            return memory.front.retryStep(input)
          },
        },
      }
  }
}

function holdFor(step: Step, { fence, token }: { fence: number; token: string }, now: number): void {
  step.fence = fence
  step.token = token
  step.lease_until = Math.max(step.lease_until ?? 0, now + 1_000_000)
}

function reopen(run: RunTables, step: Step, fence: { fence: number; token: string }, now: number): void {
  step.state = 'open'
  holdFor(step, fence, now)
  if (step.kind === 'tool') run.run.group_open += 1
  run.queue.set(step.step_number, {
    step_number: step.step_number,
    epoch: 0,
    publication: 9,
    due_at: now,
    publish_at: now,
    slot: null,
    waits: null,
    waiting_since: 0,
  })
}

function forget(queued: Queued): void {
  queued.publish_at = (queued.publish_at ?? 0) + YEAR_US
  queued.due_at += 2_000_000
}

function withoutDeadlines<T>(runs: Iterable<RunTables>, work: () => T): T {
  const all = [...runs]
  const kept = all.map(({ run }) => run.deadline_at)
  for (const { run } of all) run.deadline_at = null
  const answer = work()
  for (const [n, { run }] of all.entries()) run.deadline_at = kept[n] ?? null
  return answer
}
