import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import type { JobOutcome } from '../contract/job.ts'
import type { ExecuteOptions, Execution } from './execute.ts'
import { type ExecutionRequest, readOutcome } from './execution-request.ts'
import { type Frame, FrameReader, frame } from './frames.ts'
import { KeptOutput } from './kept-output.ts'
import { OUTPUT_FLOOD_BYTES } from './limits.ts'
import { isOutcome } from './outcome.ts'

/** The two containers start together; the executor is Node as well, on a fraction of a core. */
const EXECUTOR_START_SECONDS = 60
/** The executor keeps the time itself; past it and this it is not believed to be at work any more. */
const GRACE_SECONDS = 5

export interface RemoteOptions extends Omit<ExecuteOptions, 'confinement' | 'namedPipes'> {
  /** Path of the socket that the executor connects to. */
  socket: string
  startSeconds?: number
  graceSeconds?: number
}

/**
 * execute() in another container (executor.ts). Whatever comes from there may be the tool's: bounds are kept here once more, and the
 * worst it can do is to lie about how it ended. Resolves when the executor says that all is gone, or is given up.
 */
export async function remoteExecute(options: RemoteOptions): Promise<Execution> {
  const socket = await accept(options)
  const started = performance.now()
  const kept = { stdout: new KeptOutput(options.outputBytes), stderr: new KeptOutput(options.outputBytes) }
  const { promise, resolve, reject } = Promise.withResolvers<JobOutcome>()
  const graceMs = (options.graceSeconds ?? GRACE_SECONDS) * 1000
  let stopped: JobOutcome | undefined
  let giveUp: NodeJS.Timeout | undefined
  const stop = (outcome: JobOutcome): void => {
    if (stopped) return
    stopped = outcome
    // The end of this half asks the executor to kill the tool and to say so.
    socket.end()
    giveUp = setTimeout(() => resolve(outcome), graceMs)
  }

  let received = 0
  const take = ({ kind, payload }: Frame): void => {
    if (kind === 'request') throw new Error('a request')
    if (kind === 'end') resolve(stopped ?? readOutcome(payload))
    if (kind === 'fault') reject(new Error(payload.toString('utf8').slice(0, 500) || 'no reason given'))
    if (kind === 'end' || kind === 'fault') return
    received += payload.byteLength
    if (stopped?.kind === 'output_limit') return
    kept[kind].add(payload)
    options.onOutput(kind, payload)
    if (received > (options.floodBytes ?? OUTPUT_FLOOD_BYTES)) stop({ kind: 'output_limit' })
  }
  const reader = new FrameReader()
  socket.on('data', (bytes: Buffer) => {
    try {
      for (const next of reader.add(bytes)) take(next)
    } catch (error) {
      const said = error instanceof Error ? error.message : String(error)
      reject(new Error(`the tool's container sent what it must not: ${said}`.slice(0, 500)))
    }
  })
  socket.on('error', () => undefined) // `close` follows
  // The executor is the first process of its container, which nothing inside can kill: the kernel did, for want of memory.
  socket.on('close', () => resolve(stopped ?? { kind: 'out_of_memory' }))

  const onAbort = (): void => {
    const reason: unknown = options.signal.reason
    stop(isOutcome(reason) ? reason : { kind: 'killed', signal: 'SIGKILL' })
  }
  const timer = setTimeout(() => stop({ kind: 'timeout' }), options.timeoutSeconds * 1000 + graceMs)
  options.signal.addEventListener('abort', onAbort)
  const request: ExecutionRequest = {
    box: options.box,
    ...(options.stdin === undefined ? {} : { stdin: options.stdin }),
    timeoutSeconds: options.timeoutSeconds,
    outputBytes: options.outputBytes,
  }
  try {
    socket.write(frame('request', JSON.stringify(request)))
    if (options.signal.aborted) onAbort()
    const outcome = await promise
    return {
      outcome,
      stdout: kept.stdout.text(),
      stderr: kept.stderr.text(),
      truncated: kept.stdout.truncated || kept.stderr.truncated,
      durationMs: Math.round(performance.now() - started),
    }
  } finally {
    clearTimeout(timer)
    clearTimeout(giveUp)
    options.signal.removeEventListener('abort', onAbort)
    socket.destroy()
  }
}

/** Takes one connection and no other: the first comes from the executor, as no tool runs before it has its request. */
async function accept(options: RemoteOptions): Promise<Socket> {
  const server: Server = createServer()
  const limit = AbortSignal.timeout((options.startSeconds ?? EXECUTOR_START_SECONDS) * 1000)
  try {
    server.listen(options.socket)
    const signal = AbortSignal.any([options.signal, limit])
    const [socket] = (await once(server, 'connection', { signal })) as [Socket]
    return socket
  } catch (error) {
    if (limit.aborted) throw new Error("the tool's container did not start")
    throw error
  } finally {
    // Removes the socket's name as well.
    server.close()
  }
}
