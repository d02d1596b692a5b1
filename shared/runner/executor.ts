import { connect, type Socket } from 'node:net'
import { execute } from './execute.ts'
import type { ExecutionRequest } from './execution-request.ts'
import { FrameReader, frame, outputFrames } from './frames.ts'
import { POD_SOCKET } from './pod.ts'
import { kill } from './processes.ts'
import { proxyVariables } from './proxy-variables.ts'

/**
 * First process of a pod's tool container: gets one request from the runner (frames.ts), runs it, tells how it went, and stays until
 * the pod ends, for Kubernetes would start it again. It knows no token. The socket's path may be given as an argument.
 */
const RETRY_MS = 50

function stopAll(): void {
  // Spares the first process itself. Anywhere else than in a container it would kill all that its user runs.
  if (process.pid === 1) kill(-1)
}

async function dial(path: string): Promise<Socket> {
  for (;;) {
    const socket = connect({ path, allowHalfOpen: true })
    const isOpen = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true))
      socket.once('error', () => resolve(false))
    })
    if (isOpen) return socket
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
  }
}

async function run(socket: Socket, request: ExecutionRequest, signal: AbortSignal): Promise<void> {
  const { box } = request
  try {
    const { outcome } = await execute({
      confinement: 'pod',
      box: { ...box, env: { ...box.env, ...proxyVariables(process.env['TOOL_PROXY_URL']) } },
      stdin: request.stdin,
      timeoutSeconds: request.timeoutSeconds,
      // The runner keeps the text; here only the end of stderr is looked at.
      outputBytes: Math.min(request.outputBytes, 64 * 1024),
      namedPipes: true,
      onOutput: (stream, bytes) => {
        for (const part of outputFrames(stream, bytes)) socket.write(part)
      },
      signal,
    })
    stopAll()
    socket.end(frame('end', JSON.stringify(outcome)))
  } catch (error) {
    stopAll()
    const said = error instanceof Error ? error.message : String(error)
    socket.end(frame('fault', said.slice(0, 2000)))
  }
}

const stop = new AbortController()
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.on(signal, () => {
    stopAll()
    process.exit(0)
  })
}
const socket = await dial(process.argv[2] ?? POD_SOCKET)
const reader = new FrameReader()
let isAsked = false
socket.on('data', (bytes: Buffer) => {
  for (const { kind, payload } of reader.add(bytes)) {
    if (kind !== 'request' || isAsked) continue
    isAsked = true
    void run(socket, JSON.parse(payload.toString('utf8')) as ExecutionRequest, stop.signal)
  }
})
socket.on('end', () => stop.abort())
socket.on('error', () => stop.abort())
socket.on('close', () => {
  stop.abort()
  // In a container: idle until it is told to end. Elsewhere nobody would tell it.
  if (process.pid !== 1) process.exit(0)
})
if (process.pid === 1) setInterval(() => undefined, 60_000)
