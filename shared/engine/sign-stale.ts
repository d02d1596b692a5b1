import type { ArtifactRow } from '../contract/rows.ts'
import type { Artifacts } from '../ports/blobs.ts'
import type { Log } from '../ports/log.ts'
import type { StoredEvent } from '../ports/store.ts'

/** A link that ends sooner is no use to somebody who still has to click it. */
const MARGIN_MS = 60_000

/** Replaces signed URLs that have ended or are about to. With Storage away a row keeps its old link. */
export function signStale(
  { artifacts, log, now = Date.now }: { artifacts: () => Promise<Artifacts>; log: Log; now?: () => number },
  rows: readonly ArtifactRow[],
): Promise<ArtifactRow[]> {
  return Promise.all(
    rows.map(async (row) => {
      if (isExpired(row, now()))
        return { ...row, signed_url: null, signed_url_expires_at: null, public_url: null }
      if (!isStale(row, now())) return row
      try {
        const signer = await artifacts()
        const { signed_url, signed_url_expires_at } = await signer.sign(row)
        return { ...row, signed_url, signed_url_expires_at }
      } catch (error) {
        log.warn({ run_id: row.run_id, err: error }, 'an artifact could not be signed again')
        return row
      }
    }),
  )
}

/** The same for the files that events of a log refer to. */
export async function signEvents(
  ports: Parameters<typeof signStale>[0],
  events: StoredEvent[],
): Promise<StoredEvent[]> {
  const rows = events.flatMap(({ artifact }) => (artifact === null ? [] : [artifact]))
  if (rows.length === 0) return events
  const signed = new Map((await signStale(ports, rows)).map((row) => [row.id, row]))
  return events.map((event) => ({
    ...event,
    artifact: signed.get(event.artifact?.id ?? '') ?? event.artifact,
  }))
}

/** To be removed at any moment: nobody is handed a link to it any more. */
function isExpired({ expires_at }: ArtifactRow, now: number): boolean {
  return expires_at !== null && Date.parse(expires_at) <= now
}

function isStale({ signed_url, signed_url_expires_at, deleted_at }: ArtifactRow, now: number): boolean {
  if (deleted_at !== null) return false
  return (
    signed_url === null ||
    signed_url_expires_at === null ||
    Date.parse(signed_url_expires_at) - now < MARGIN_MS
  )
}
