import { type Call, type Loose, urlOf } from './call.ts'
import type { World } from './installation.ts'

export interface Frame {
  id: string | undefined
  /** The SSE field; `message` without one, as EventSource has it. */
  event: string
  data: Loose
}

export interface Followed {
  status: number
  headers: Headers
  frames: Frame[]
  /** `left`: the reader had what it wanted. */
  end: 'clean' | 'broken' | 'left'
}

/** A run may take so long before a reader gives it up: a model of a deployed installation thinks for minutes. */
export const PATIENCE_MS = 200_000

export interface Follow extends Pick<Call, 'as' | 'headers'> {
  until?: (frame: Frame) => boolean
  onFrame?: (frame: Frame) => void | Promise<void>
}

/** Reads a stream with fetch, as the old readers without EventSource do. */
export async function follow(world: World, path: string, how: Follow = {}): Promise<Followed> {
  const { as, headers, until = () => false, onFrame } = how
  const token = as === undefined ? world.alice.token : as === null || typeof as === 'string' ? as : as.token
  const leaving = new AbortController()
  const answer = await world.fetch(urlOf(world, path), {
    headers: {
      accept: 'text/event-stream',
      ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      ...headers,
    },
    signal: AbortSignal.any([leaving.signal, AbortSignal.timeout(PATIENCE_MS)]),
  })
  const followed: Followed = { status: answer.status, headers: answer.headers, frames: [], end: 'clean' }
  if (answer.body === null || answer.status !== 200) {
    await answer.body?.cancel()
    return followed
  }
  const stream = path.includes('mode=stream') ? 'plain' : 'named'
  let buffer = ''
  try {
    for await (const text of answer.body.pipeThrough(new TextDecoderStream())) {
      const blocks = (buffer + text).split('\n\n')
      buffer = blocks.pop() ?? ''
      for (const frame of blocks.flatMap(frameOf)) {
        followed.frames.push(frame)
        world.frames.push({ stream, data: frame.data })
        await onFrame?.(frame)
        if (!until(frame)) continue
        followed.end = 'left'
        leaving.abort()
        return followed
      }
    }
  } catch {
    followed.end = 'broken'
  }
  return followed
}

function frameOf(block: string): Frame[] {
  const fields = new Map<string, string>()
  for (const line of block.split('\n')) {
    const [, name, value] = /^([^:]+): ?(.*)$/.exec(line) ?? []
    if (name === undefined || value === undefined) continue
    fields.set(name, name === 'data' && fields.has(name) ? `${fields.get(name)}\n${value}` : value)
  }
  const data = fields.get('data')
  if (data === undefined) return []
  return [{ id: fields.get('id'), event: fields.get('event') ?? 'message', data: JSON.parse(data) }]
}
