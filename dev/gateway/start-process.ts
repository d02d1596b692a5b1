import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { request } from 'node:http'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { freePort } from '../free-port.ts'

export interface ProcessSpec {
  name: string
  command: string
  args: readonly string[]
  /** The whole environment: nothing is inherited. PORT and HOST are added. */
  env: Readonly<Record<string, string>>
}

export interface Exit {
  code: number | null
  signal: NodeJS.Signals | null
  /** The last lines of stderr (else stdout), for the log line about a crash. */
  lastLines: string[]
}

export interface RunningProcess {
  pid: number | undefined
  port: number
  /** Resolves when the process is gone, never rejects. */
  exited: Promise<Exit>
  /** Resolves true at the first 200 of GET /ready (or /health where there is no /ready), false if it died or took too long. */
  ready: Promise<boolean>
  /** True as soon as the kernel knows it, which is before the exit event: its connections break earlier than we hear why. */
  isDead(): boolean
  /** SIGTERM, then SIGKILL after the grace period. Resolves when it is gone. */
  stop(graceMs: number): Promise<void>
  kill(): void
}

/** Readiness is asked this often; a warm function is up in 60 to 150 ms, so a longer wait would show. */
const POLL_MS = 10
const MAX_LINE_CHARS = 64_000
const KEPT_LINES = 5
const preload = fileURLToPath(new URL('./exit-with-parent.mjs', import.meta.url))

export async function startProcess(
  spec: ProcessSpec,
  {
    startTimeoutMs,
    onLine,
  }: { startTimeoutMs: number; onLine: (line: string, stream: 'stdout' | 'stderr') => void },
): Promise<RunningProcess> {
  const port = await freePort()
  const isNode = /(^|\/)node$/.test(spec.command)
  const child = spawn(spec.command, [...(isNode ? ['--import', preload] : []), ...spec.args], {
    env: { ...spec.env, PORT: String(port), HOST: '127.0.0.1' },
    stdio: ['pipe', 'pipe', 'pipe'],
    // A group of its own: Ctrl-C in the terminal must reach the stack only, which stops the functions in order.
    detached: true,
  })
  child.stdin.on('error', () => {})
  const errors: string[] = []
  const output: string[] = []
  readLines(child.stderr, (line) => {
    keep(errors, line)
    onLine(line, 'stderr')
  })
  readLines(child.stdout, (line) => {
    keep(output, line)
    onLine(line, 'stdout')
  })

  let gone = false
  const exited = new Promise<Exit>((resolve) => {
    child.once('error', (error) => {
      gone = true
      resolve({ code: null, signal: null, lastLines: [error.message] })
    })
    // 'exit', not 'close': a grandchild that holds the pipes open must not make a dead process look alive.
    child.once('exit', (code, signal) => {
      gone = true
      setImmediate(() => resolve({ code, signal, lastLines: errors.length > 0 ? errors : output }))
    })
  })
  const kill = () => {
    if (!gone) child.kill('SIGKILL')
  }
  return {
    pid: child.pid,
    port,
    exited,
    ready: waitUntilReady(port, startTimeoutMs, () => gone),
    kill,
    isDead: () => gone || isZombie(child.pid),
    async stop(graceMs) {
      if (gone) return
      const timer = setTimeout(kill, graceMs)
      child.kill('SIGTERM')
      await exited
      clearTimeout(timer)
    },
  }
}

/** False where there is no /proc; then a refused connection tells it (see create-gateway.ts). */
function isZombie(pid: number | undefined): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return 'ZX'.includes(stat.charAt(stat.lastIndexOf(')') + 2))
  } catch {
    return false
  }
}

function keep(lines: string[], line: string) {
  lines.push(line)
  if (lines.length > KEPT_LINES) lines.shift()
}

function readLines(stream: Readable, onLine: (line: string) => void) {
  let rest = ''
  stream.setEncoding('utf8')
  stream.on('error', () => {})
  stream.on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop() ?? ''
    // A line without end is passed on in pieces, so that no process can fill our memory with one.
    if (rest.length > MAX_LINE_CHARS) lines.push(rest)
    if (rest.length > MAX_LINE_CHARS) rest = ''
    for (const line of lines) if (line !== '') onLine(line.slice(0, MAX_LINE_CHARS))
  })
  stream.on('end', () => {
    if (rest !== '') onLine(rest)
  })
}

async function waitUntilReady(port: number, timeoutMs: number, isGone: () => boolean): Promise<boolean> {
  const until = Date.now() + timeoutMs
  let path = '/ready'
  while (!isGone() && Date.now() < until) {
    const status = await statusOf(port, path)
    // A process that died while another took its port must not count as ready.
    if (status === 200) return !isGone()
    if (status === 404) path = '/health'
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
  return false
}

function statusOf(port: number, path: string): Promise<number> {
  return new Promise((resolve) => {
    const asked = request({ host: '127.0.0.1', port, path, agent: false, timeout: 2_000 }, (response) => {
      response.resume()
      resolve(response.statusCode ?? 0)
    })
    asked.on('timeout', () => asked.destroy())
    asked.on('error', () => resolve(0))
    asked.end()
  })
}
