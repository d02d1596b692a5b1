import { setTimeout as sleep } from 'node:timers/promises'
import { type Api, ApiError, post } from './api.ts'
import { parseEvents } from './parse-events.ts'

export type Json = Record<string, unknown>

/** A named event of the run's stream; `data` is its JSON. */
export interface RunEvent {
  event: string
  id?: string | undefined
  data: Json
}

export const FINAL = new Set(['completed', 'failed', 'cancelled', 'timeout'])
/** The API sends something every 15 s; a stream that is silent for longer is dead. */
const SILENCE_MS = 45_000
const MAX_PAUSE_MS = 5_000

export async function readStatus(api: Api, runId: string): Promise<Json> {
  const body = {
    run_id: runId,
    include_steps: false,
    include_messages: false,
    include_artifacts: false,
    include_logs: false,
  }
  const { run } = await post<{ run: Json }>(api, '/agent/status', body)
  return run
}

/**
 * Yields the events of a run until it is final, each stored one once, across any number of broken connections: the stream goes on
 * from its last id, and status decides whenever the stream leaves it open. Adds two events of its own: `plan {plan}` as soon as there
 * is one, and at the end `run {run}`.
 */
export async function* followRun(api: Api, runId: string): AsyncGenerator<RunEvent> {
  let lastId: string | undefined
  let planVersion = 0
  let fruitless = 0
  for (;;) {
    let isOver = false
    let had = 0
    const connection = await connect(api, runId, lastId)
    if (connection) {
      try {
        for await (const event of connection) {
          had++
          lastId = event.id ?? lastId
          yield event
          if (mayChangePlan(event)) {
            const run = await readStatus(api, runId)
            if (run.plan && Number(run.plan_version) !== planVersion) {
              planVersion = Number(run.plan_version)
              yield { event: 'plan', data: { plan: run.plan } }
            }
          }
          isOver =
            event.event === 'complete' || (event.event === 'error' && FINAL.has(String(event.data.status)))
          if (isOver) break
        }
      } catch {
        api.signal.throwIfAborted() // else: cut in the middle; go on from the last id
      }
    }
    // A stream that ended or failed says nothing about the run; status does.
    const run = await readStatus(api, runId)
    if (isOver || (FINAL.has(String(run.status)) && had === 0)) {
      yield { event: 'run', data: { run } }
      return
    }
    fruitless = had > 0 ? 0 : fruitless + 1
    await sleep(Math.min(100 * 2 ** Math.min(fruitless, 6), MAX_PAUSE_MS), undefined, { signal: api.signal })
  }
}

/** The plan is made before execution and changed by the step `replan`. */
function mayChangePlan({ event, data }: RunEvent): boolean {
  if (event === 'status') return data.status === 'executing'
  const step = data.step as Json | undefined
  return (
    event === 'step' && step?.status === 'completed' && ['plan', 'replan'].includes(String(step.tool_name))
  )
}

/** Undefined: not now. Throws ApiError when the run is not there for this user. */
async function connect(
  api: Api,
  runId: string,
  lastId: string | undefined,
): Promise<AsyncGenerator<RunEvent> | undefined> {
  const quiet = new AbortController()
  const signal = AbortSignal.any([api.signal, quiet.signal])
  let answer: Response
  const timer = setTimeout(() => quiet.abort(), SILENCE_MS)
  try {
    answer = await fetch(`${api.origin}/agent/run/${runId}/stream?resume=true`, {
      headers: {
        accept: 'text/event-stream',
        authorization: `Bearer ${await api.token()}`,
        ...(lastId === undefined ? {} : { 'last-event-id': lastId }),
      },
      signal,
    })
  } catch {
    api.signal.throwIfAborted()
    return undefined
  } finally {
    clearTimeout(timer)
  }
  if (answer.status === 404 || answer.status === 400)
    throw new ApiError(answer.status, `The stream of run ${runId} was refused`)
  if (!answer.ok || !answer.body) {
    await answer.body?.cancel()
    return undefined
  }
  return readAll(withWatchdog(answer.body, quiet))
}

/** Aborts when no byte came for a while: a connection to a machine that is gone is never closed by itself. */
function withWatchdog(body: ReadableStream<Uint8Array>, quiet: AbortController): ReadableStream<Uint8Array> {
  const arm = () => setTimeout(() => quiet.abort(), SILENCE_MS).unref()
  let timer = arm()
  return body.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        clearTimeout(timer)
        timer = arm()
        controller.enqueue(chunk)
      },
      flush: () => clearTimeout(timer),
    }),
  )
}

async function* readAll(body: ReadableStream<Uint8Array>): AsyncGenerator<RunEvent> {
  let lastId: string | undefined
  for await (const { id, event, data } of parseEvents(body)) {
    // The parser repeats an id for events that have none of their own (deltas): only a new one is progress.
    const own = id === lastId ? undefined : id
    lastId = id
    yield { event, id: own, data: JSON.parse(data) as Json }
  }
}
