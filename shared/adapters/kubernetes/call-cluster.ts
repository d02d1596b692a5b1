import { AppError } from '../../core/errors.ts'
import type { Client } from './connect.ts'

/** Not known whether it was done, or not now: too many requests, a conflict of writes, a server that is starting. */
const PASSING_STATUSES: ReadonlySet<number> = new Set([408, 409, 429])

/** The status of an answer; the client's class is not loaded for this. */
function statusOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined
  return typeof error.code === 'number' ? error.code : undefined
}

export function isStatus(error: unknown, status: number): boolean {
  return statusOf(error) === status
}

/** What the API server said, without headers and bodies of ours. */
function messageOf(error: unknown): string {
  const body = error instanceof Error && 'body' in error ? error.body : undefined
  const text = typeof body === 'string' ? body : JSON.stringify(body ?? '')
  return (/"message":"((?:[^"\\]|\\.)*)"/.exec(text)?.[1] ?? text).slice(0, 300)
}

/** Rejects as `unavailable` for what trying again may heal; a plain Error is a fault of this program, its rights or its settings. */
export async function callCluster<Result>(
  client: () => Promise<Client>,
  work: (client: Client) => Promise<Result>,
): Promise<Result> {
  const connected = await client()
  try {
    return await work(connected)
  } catch (error) {
    const status = statusOf(error)
    const said = messageOf(error)
    // The quota of Jobs is used up: others will end.
    const isFull = status === 403 && said.includes('exceeded quota')
    if (status === undefined || status >= 500 || PASSING_STATUSES.has(status) || isFull) {
      const why = status === undefined ? 'does not answer' : `answered ${status}${isFull ? ' (quota)' : ''}`
      throw new AppError('unavailable', `The cluster that runs tools ${why}.`, {
        retryAfterSeconds: isFull ? 10 : 2,
        cause: error,
      })
    }
    throw new Error(`the cluster's API answered ${status}: ${said}`)
  }
}
