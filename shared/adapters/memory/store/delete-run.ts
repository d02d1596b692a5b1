import { isFinal } from '../../../core/run.ts'
import type { RunAnswer } from '../../../ports/store.ts'
import { settleStep } from './credits.ts'
import { listArtifact, listBlob } from './objects.ts'
import { runRow } from './rows.ts'
import type { Database, RunTables, Tables } from './tables.ts'
import { badState } from './verbs.ts'

/** private.delete_run: everything of an ended run but the ledger, which is its user's. Bytes that nothing else refers to are listed. */
export function deleteRun(db: Database, tables: RunTables): RunAnswer {
  const { run, steps, files, artifacts } = tables
  if (!isFinal(run.status)) throw badState('delete', tables)
  const row = runRow(run)
  for (const { step_number, state } of steps)
    if (state === 'settling') settleStep(db, tables, step_number, true)
  const others = [...db.tables.runs.values()].filter(
    (other) => other !== tables && other.run.user_id === run.user_id,
  )
  for (const { sha256 } of files)
    if (!others.some((other) => other.files.some((file) => file.sha256 === sha256)))
      listBlob(db, run.user_id, sha256)
  for (const { storage_bucket, storage_key } of artifacts) {
    const own = storage_bucket === 'agent-outputs' && storage_key.startsWith(`${run.user_id}/`)
    const shared = others.some((other) =>
      other.artifacts.some(
        (each) => each.storage_bucket === storage_bucket && each.storage_key === storage_key,
      ),
    )
    if (own && !shared) listArtifact(db, { bucket: storage_bucket, name: storage_key })
  }
  forget(db.tables, tables)
  return { run: row, publications: [] }
}

function forget({ runs, ledgersOfDeleted, tickets }: Tables, { run, ledger }: RunTables): void {
  const kept = ledgersOfDeleted.get(run.user_id) ?? []
  ledgersOfDeleted.set(run.user_id, [...kept, ...ledger])
  for (const [key, { run_id }] of tickets) if (run_id === run.id) tickets.delete(key)
  runs.delete(run.id)
}
