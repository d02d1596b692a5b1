import type { CreateCommand } from '../contract/execute.ts'
import type { Cache } from '../ports/cache.ts'
import type { Caller, Principal } from '../ports/identity.ts'
import type { Log } from '../ports/log.ts'
import type { Scheduler } from '../ports/scheduler.ts'
import type { CreateAnswer, FrontStore, RunLimits } from '../ports/store.ts'
import { announce } from './announce.ts'
import { publishBestEffort } from './publish-best-effort.ts'
import { type AttachmentPorts, readAttachments } from './read-attachments.ts'

export interface FrontPorts {
  store: FrontStore
  cache: Cache
  /** Loaded on first use: not every instance of execute publishes. */
  scheduler: () => Promise<Scheduler>
  log: Log
}

export interface CreateOptions {
  limits: RunLimits
  openingCredits: number
  idempotency: { key: string; body_sha256: string } | null
}

/** Creates a run: files first, then one transaction, then the queue. A repeat with the same key reads no attachment again. */
export async function createRun(
  ports: FrontPorts & AttachmentPorts,
  caller: Caller,
  command: CreateCommand,
  { limits, openingCredits, idempotency }: CreateOptions,
): Promise<CreateAnswer> {
  const { store, log } = ports
  const principal = principalOf(caller)
  const { user_id, replay } = await store.prepareCreate({
    principal,
    idempotency,
    opening_credits: openingCredits,
    checks: { limits, auto_start: command.auto_start },
  })
  if (replay !== null) return replay

  const { attachments, files, warnings } = await readAttachments(ports, caller, user_id, command.attachments)
  const answer = await store.createRun({
    principal,
    prompt: command.prompt,
    mode: command.mode,
    project_id: command.project_id,
    connector_ids: command.connector_ids,
    metadata: command.metadata,
    memory_context: command.memory_context,
    tags: command.tags,
    attachments,
    files,
    auto_start: command.auto_start,
    limits,
    opening_credits: openingCredits,
    idempotency,
    warnings,
  })
  await publishBestEffort(ports.scheduler, answer.publications, { log, runId: answer.run.id })
  return answer
}

/** Only what the store is to know of a caller: not the token. */
export function principalOf({ issuer, sub, tenant_id, user_id_from, key_id }: Caller): Principal {
  return { issuer, sub, tenant_id, user_id_from, ...(key_id === undefined ? {} : { key_id }) }
}

/** After a verb's transaction: its publications to the queue, a hint to open streams. */
export async function spread(
  ports: FrontPorts,
  answer: { run: { id: string }; publications: CreateAnswer['publications'] },
): Promise<void> {
  await Promise.all([
    publishBestEffort(ports.scheduler, answer.publications, { log: ports.log, runId: answer.run.id }),
    announce(ports.cache, answer.run.id, { t: 'rows' }),
  ])
}
