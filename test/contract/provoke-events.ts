import { randomUUID } from 'node:crypto'
import { read } from '../../functions/logs/sse-reader.ts'
import { testIdentity } from '../../functions/test-kit.ts'
import { setup, tell } from '../../functions/told-run.ts'
import type { LiveMessage } from '../../shared/contract/live.ts'
import { runChannel } from '../../shared/contract/live.ts'

export interface ProvokedFrame {
  stream: 'named' | 'plain'
  data: Record<string, unknown>
}

const HEADERS = { authorization: 'Bearer alice' }
/** Long enough for a stream to open on a loaded machine, which is then cut by it. */
const TOKEN_SECONDS = 2

/**
 * Every event that comes of time, of a token's end, or of a run with phases, warnings and text that is still being written: streams
 * with a run of this process.
 */
export async function provokeEvents(): Promise<ProvokedFrame[]> {
  const frames = await Promise.all([told(), live(), outlived('named'), outlived('plain')])
  return frames.flat()
}

/** A run with everything in it. */
async function told(): Promise<ProvokedFrame[]> {
  const env = await setup()
  tell(env)
  const named = await read(env.named, HEADERS)
  await named.end
  return shown('named', named)
}

/** Silence, then text as it is written, then the process's end. */
async function live(): Promise<ProvokedFrame[]> {
  const env = await setup({ STREAM_HEARTBEAT_SECONDS: '1' })
  env.store.addStatus(env.run_id, 'executing')
  const named = await read(env.named, HEADERS)
  await named.until(({ event }) => event === 'heartbeat')
  const delta: LiveMessage = { t: 'message_delta', message_id: randomUUID(), content: 'Th' }
  await env.ports.cache.publish(runChannel(env.run_id), [JSON.stringify(delta)])
  await named.until(({ event }) => event === 'message_delta')
  env.ports.connections.drain()
  await named.end
  return shown('named', named)
}

/** A stream that goes on longer than its reader's token. */
async function outlived(stream: ProvokedFrame['stream']): Promise<ProvokedFrame[]> {
  const env = await setup({}, testIdentity({ expiresInSeconds: TOKEN_SECONDS }))
  const url = stream === 'named' ? env.named : `${env.base}/agent/logs?mode=stream&run_id=${env.run_id}`
  const reading = await read(url, HEADERS)
  await reading.end
  return shown(stream, reading)
}

function shown(stream: ProvokedFrame['stream'], reading: Awaited<ReturnType<typeof read>>): ProvokedFrame[] {
  return reading
    .frames()
    .flatMap(({ comment, data }) => (comment || Object.keys(data).length === 0 ? [] : [{ stream, data }]))
}
