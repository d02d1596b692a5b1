import type { CreateAnswer, FrontStore } from '../../../ports/store.ts'
import { createOnce } from './create-once.ts'
import type { Database, RunTables } from './tables.ts'
import { badState } from './verbs.ts'

type RetryRun = Parameters<FrontStore['retryRun']>[0]

/** private.retry_run: a new run with the same request and the files that came with it. */
export function retryRun(
  db: Database,
  who: { userId: string; tenantId: string },
  earlier: RunTables,
  { limits, opening_credits, idempotency }: Pick<RetryRun, 'limits' | 'opening_credits' | 'idempotency'>,
): CreateAnswer {
  const { run, messages, files } = earlier
  if (!['failed', 'timeout', 'cancelled'].includes(run.status)) throw badState('retry', earlier)
  return createOnce(db, who, {
    idempotency,
    opening_credits,
    limits,
    prompt: run.prompt,
    mode: run.mode,
    project_id: run.project_id,
    connector_ids: run.connector_ids,
    metadata: { ...run.metadata, retry_of: run.id },
    memory_context: run.config.memory_context,
    tags: run.tags,
    auto_start: true,
    warnings: [],
    attachments: (messages[0]?.attachments ?? []) as Parameters<FrontStore['createRun']>[0]['attachments'],
    files: files
      .filter(({ from_step }) => from_step === -1)
      .map(({ path, sha256, size, mode }) => ({ path, sha256, size, mode })),
  })
}
