import { inject } from 'vitest'
import type { User } from '../system/kit.ts'

export interface StreamEnd {
  /** Events that were read: id and name, in order. */
  events: { id: string; name: string }[]
  /** Bytes of comments and events together. */
  bytes: number
  seconds: number
  /** Set when the connection broke instead of ending. */
  fault?: string
}

export interface StreamRequest {
  after?: string
  signal?: AbortSignal
  /** Told of every event when it arrives, with what is in its `data` field; live text has no id. */
  onEvent?: (name: string, data: string) => void
}

/** Reads a run's events from a position until the server ends the stream or `signal` does. `resume=true`: a stream that ends itself closes. */
export async function readStream(
  user: User,
  runId: string,
  { after, signal, onEvent }: StreamRequest = {},
): Promise<StreamEnd> {
  const started = performance.now()
  const end: StreamEnd = { events: [], bytes: 0, seconds: 0 }
  let text = ''
  try {
    const answer = await fetch(`${inject('ground').publicUrl}/agent/run/${runId}/stream?resume=true`, {
      headers: {
        authorization: `Bearer ${user.token}`,
        accept: 'text/event-stream',
        ...(after === undefined ? {} : { 'last-event-id': after }),
      },
      ...(signal === undefined ? {} : { signal }),
    })
    if (answer.status === 204) return { ...end, seconds: (performance.now() - started) / 1000 }
    if (!answer.ok || answer.body === null)
      throw new Error(`the stream was refused: ${answer.status} ${await answer.text()}`)
    const decoder = new TextDecoder()
    for await (const part of answer.body) {
      end.bytes += part.byteLength
      text += decoder.decode(part, { stream: true })
      const blocks = text.split('\n\n')
      text = blocks.pop() ?? ''
      for (const block of blocks) {
        const id = /^id: ?(.*)$/m.exec(block)?.[1]
        const name = /^event: ?(.*)$/m.exec(block)?.[1] ?? 'message'
        if (id !== undefined) end.events.push({ id, name })
        onEvent?.(name, /^data: ?(.*)$/m.exec(block)?.[1] ?? '')
      }
    }
  } catch (error) {
    if (!signal?.aborted) end.fault = error instanceof Error ? error.message : String(error)
  }
  end.seconds = (performance.now() - started) / 1000
  return end
}

/** What a browser does: connects again after the last event it saw, until the run's end is told. */
export async function follow(
  user: User,
  runId: string,
  signal: AbortSignal,
): Promise<{ ends: StreamEnd[]; ids: string[] }> {
  const ends: StreamEnd[] = []
  const ids: string[] = []
  while (!signal.aborted) {
    const last = ids.at(-1)
    const end = await readStream(user, runId, { signal, ...(last === undefined ? {} : { after: last }) })
    ends.push(end)
    ids.push(...end.events.map(({ id }) => id))
    if (end.events.some(({ name }) => name === 'final') || (end.bytes === 0 && end.fault === undefined)) break
    await new Promise((resolve) => setTimeout(resolve, 500))
  }
  return { ends, ids }
}
