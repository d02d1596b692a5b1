import type { BulkVerb } from '../../../core/bulk-verbs.ts'
import { AppError } from '../../../core/errors.ts'
import type { RunStatus } from '../../../core/run.ts'
import type { BulkAnswer, RunAnswer, VerbStore } from '../../../ports/store.ts'
import { deleteRun } from './delete-run.ts'
import { assertKept } from './objects.ts'
import { retryRun } from './retry-run.ts'
import type { Database, RunTables } from './tables.ts'
import { cancelRun, pauseRun, resumeRun } from './verbs.ts'

const MAX_A_CALL = 100

const FOR: Readonly<Record<BulkVerb, readonly RunStatus[]>> = {
  stop: ['created', 'queued', 'planning', 'executing', 'waiting_user', 'paused'],
  pause: ['queued', 'planning', 'executing', 'waiting_user'],
  resume: ['paused'],
  retry: ['failed', 'timeout', 'cancelled'],
  delete: ['completed', 'failed', 'cancelled', 'timeout'],
}

type BulkRuns = Parameters<VerbStore['bulkRuns']>[0]
interface Who {
  userId: string
  tenantId: string
}

/** private.bulk_runs: the oldest runs of a tag in a state that the verb is for; each succeeds or fails by itself. */
export function bulkRuns(db: Database, who: Who, input: BulkRuns): BulkAnswer {
  const { tag, verb } = input
  if (!Object.hasOwn(FOR, verb)) throw new AppError('invalid_request', `There is no bulk ${verb}`)
  const own = [...db.tables.runs.values()].filter(({ run }) => run.user_id === who.userId)
  // what was retried before is not retried again by the next call
  const retried = new Set(verb === 'retry' ? own.map(({ run }) => run.metadata['retry_of']) : [])
  const chosen = own
    .filter(({ run }) => run.tags.includes(tag) && FOR[verb].includes(run.status) && !retried.has(run.id))
    .sort((a, b) => a.run.created_at - b.run.created_at || (a.run.id < b.run.id ? -1 : 1))
  const taken = chosen.slice(0, MAX_A_CALL)
  // the one fault that is not a result of its run: it undoes the whole call, so it is met before anything changes
  if (verb === 'retry')
    for (const { files } of taken)
      assertKept(
        db.tables,
        who.userId,
        files.flatMap(({ from_step, sha256 }) => (from_step === -1 ? [sha256] : [])),
      )
  const answer: BulkAnswer = { results: [], publications: [], jobs: [], has_more: chosen.length > MAX_A_CALL }
  for (const each of taken) {
    const run_id = each.run.id
    try {
      const { run, publications, jobs = [] } = one(db, who, each, input)
      answer.publications.push(...publications)
      answer.jobs.push(...jobs)
      const fresh = verb === 'retry' ? { new_run_id: run.id } : {}
      answer.results.push({ run_id, ok: true, status: run.status, ...fresh })
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      answer.results.push({ run_id, ok: false, code: error.code, message: error.message })
    }
  }
  return answer
}

function one(db: Database, who: Who, tables: RunTables, input: BulkRuns): RunAnswer & { jobs?: string[] } {
  switch (input.verb) {
    case 'stop':
      return cancelRun(db, tables)
    case 'pause':
      return pauseRun(db, tables)
    case 'resume':
      return resumeRun(db, tables, null)
    case 'retry':
      return retryRun(db, who, tables, { ...input, idempotency: null })
    case 'delete':
      return deleteRun(db, tables)
  }
}
