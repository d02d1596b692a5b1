import type { Log } from '../ports/log.ts'
import type { Publication, Scheduler } from '../ports/scheduler.ts'

/** A caller should not wait for a queue that is slow: the outbox and the sweeper carry what was not published. */
const PATIENCE_MS = 3000

/** Publishes what a transaction made due. A failure is only a delay: the rows are committed and the sweeper publishes them. */
export async function publishBestEffort(
  scheduler: () => Promise<Scheduler>,
  publications: readonly Publication[],
  { log, runId }: { log: Log; runId: string },
): Promise<void> {
  if (publications.length === 0) return
  let timer: NodeJS.Timeout | undefined
  const patience = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${PATIENCE_MS} ms`)), PATIENCE_MS)
  })
  const publishing = scheduler().then((queue) => queue.publish(publications))
  try {
    await Promise.race([publishing, patience])
  } catch (error) {
    publishing.catch(() => {})
    log.warn(
      { run_id: runId, count: publications.length, err: error },
      'publish failed; the sweeper will publish',
    )
  } finally {
    clearTimeout(timer)
  }
}
