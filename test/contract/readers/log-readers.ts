import { setTimeout as wait } from 'node:timers/promises'
import { type Loose, logs } from '../call.ts'
import { follow, PATIENCE_MS } from '../follow.ts'
import type { World } from '../installation.ts'

/** How an old poller names the place it has reached. */
export const CURSORS = {
  /** The oldest: the last row's time as it came, put into the URL without encoding, so that the zone's + arrives as a space. */
  'created_at as it came': (log: { created_at: string }) => log.created_at.replace('+', ' '),
  /** Through a Date, which keeps milliseconds. */
  'new Date(created_at).toISOString()': (log: { created_at: string }) =>
    new Date(log.created_at).toISOString(),
} as const

/** Polls a run's log by the time of its last row, and shows `content`, until the row of the run's end. */
export async function logPoller(
  world: World,
  run_id: string,
  cursor: (log: { created_at: string }) => string,
): Promise<string[]> {
  const lines: string[] = []
  const end = Date.now() + PATIENCE_MS
  let since: string | undefined
  let over = false
  while (Date.now() < end) {
    const query = { run_id, mode: 'polling', limit: '4', ...(since === undefined ? {} : { since }) }
    const { body } = await logs(world, query)
    for (const log of body.logs) lines.push(`${log.seq} ${log.content}`)
    // One page more than needed: what is repeated would show.
    if (over) return lines
    over = body.logs.some((log: Loose) => log.metadata.event === 'final')
    const last = body.logs.at(-1)
    if (last !== undefined) since = cursor(last)
    else await wait(200)
  }
  throw new Error(`no end after ${lines.length} lines`)
}

export interface PlainScreen {
  connectedTo: string | null
  lines: string[]
  status: string | null
  error: string | null
}

/** Reads `mode=stream`: `data:` only, and the `type` in it. */
export async function plainStreamReader(world: World, path: string): Promise<PlainScreen> {
  const screen: PlainScreen = { connectedTo: null, lines: [], status: null, error: null }
  const { frames } = await follow(world, path, {
    onFrame: ({ data }) => {
      if (data.type === 'connected') screen.connectedTo = data.run_id
      else if (data.type === 'log') screen.lines.push(`${data.data.seq} ${data.data.content}`)
      else if (data.type === 'complete') screen.status = data.status
      else if (data.type === 'error') screen.error = data.message
    },
  })
  const named = frames.find(({ event }) => event !== 'message')
  if (named !== undefined)
    throw new Error(`an event with a name, which this reader does not see: ${named.event}`)
  return screen
}
