import { EventSource } from 'eventsource'
import { call, type Loose, urlOf } from '../call.ts'
import { PATIENCE_MS } from '../follow.ts'
import type { World } from '../installation.ts'

export interface EventSourceScreen {
  lines: string[]
  end: 'complete' | string
  /** Times the source connected. */
  opened: number
}

const SHOWN = [
  'status',
  'step',
  'thinking',
  'tool_call',
  'tool_result',
  'terminal',
  'message',
  'phase',
  'progress',
  'output',
  'artifact',
]

/**
 * A reader with EventSource: no headers, so a ticket stands in the URL. The server's event `error` arrives at the same listener as
 * a lost connection; they differ in that only the former has data.
 */
export async function eventSourceReader(
  world: World,
  runId: string,
  path: string,
): Promise<EventSourceScreen> {
  const { body } = await call(world, '/agent/stream-ticket', { body: { run_id: runId } })
  const screen: EventSourceScreen = { lines: [], end: '', opened: 0 }
  const source = new EventSource(`${urlOf(world, path)}?ticket=${body.ticket}`, {
    fetch: (url, init) => world.fetch(url, { ...init, headers: init.headers }),
  })
  await new Promise<void>((done, failed) => {
    const timer = setTimeout(
      () => failed(new Error(`no end after ${screen.lines.length} events`)),
      PATIENCE_MS,
    )
    const over = (end: string) => {
      clearTimeout(timer)
      source.close()
      screen.end = end
      done()
    }
    source.addEventListener('open', () => {
      screen.opened += 1
    })
    for (const name of SHOWN) source.addEventListener(name, () => screen.lines.push(name))
    source.addEventListener('complete', () => over('complete'))
    source.addEventListener('error', (event: Loose) => {
      if (event.data !== undefined) over(JSON.parse(event.data).message)
      else if (source.readyState === source.CLOSED) over(`gave up: ${event.code} ${event.message}`)
    })
  })
  return screen
}
