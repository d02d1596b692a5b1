import { type ChildProcess, spawn } from 'node:child_process'
import { type FileHandle, open } from 'node:fs/promises'
import { constants } from 'node:os'
import type { Readable } from 'node:stream'
import type { JobOutcome } from '../contract/job.ts'
import type { Box } from './box.ts'
import { confine } from './confine.ts'
import type { Confinement } from './confinement.ts'
import { KeptOutput } from './kept-output.ts'
import { OUTPUT_FLOOD_BYTES } from './limits.ts'
import { isOutcome } from './outcome.ts'
import { openOutputPipes } from './output-pipe.ts'
import { kill, killAll, listProcesses, listStrays, listTree, type Process, readProcess } from './processes.ts'
import { countMemoryKills, watchMemory } from './watch-memory.ts'

export interface ExecuteOptions {
  confinement: Confinement
  box: Box
  /** Path of the file that is the tool's standard input; undefined gives it none. */
  stdin: string | undefined
  timeoutSeconds: number
  outputBytes: number
  /** Gives the tool pipes that it can open by name (output-pipe.ts). Not in a worker thread: it would close them a second time. */
  namedPipes: boolean
  floodBytes?: number
  onOutput(stream: 'stdout' | 'stderr', bytes: Buffer): void
  /** Aborting kills the tool; the outcome is then the reason's, an outcome or anything else for `killed`. */
  signal: AbortSignal
}

export interface Execution {
  outcome: JobOutcome
  stdout: string
  stderr: string
  truncated: boolean
  durationMs: number
}

/** Runs the tool and resolves when it and every process it started are gone. Rejects when the sandbox cannot be set up. */
export async function execute(options: ExecuteOptions): Promise<Execution> {
  const stdin = options.stdin === undefined ? undefined : await open(options.stdin, 'r')
  try {
    return await executeWith(options, stdin)
  } finally {
    await stdin?.close()
  }
}

async function executeWith(options: ExecuteOptions, stdin: FileHandle | undefined): Promise<Execution> {
  const { box, confinement } = options
  // Its processes are not held by a namespace of their own: they must be found.
  const isOpen = confinement === 'none' || confinement === 'pod'
  const wrapped = confine(confinement, box)
  const killedBefore = await countMemoryKills()
  const [command = '', ...argv] = wrapped.argv
  const started = performance.now()
  const pipes = options.namedPipes
    ? await openOutputPipes(box.directories.root, ['stdout', 'stderr'])
    : undefined
  const child = spawn(command, argv, {
    cwd: wrapped.cwd,
    env: wrapped.env,
    // Unconfined: an own process group, so that the group can be killed; a sandbox dies with its first process.
    detached: isOpen,
    stdio: [
      stdin?.fd ?? 'ignore',
      pipes?.stdout.writeEnd ?? 'pipe',
      pipes?.stderr.writeEnd ?? 'pipe',
      'pipe',
      'pipe',
    ],
  })
  pipes?.stdout.release()
  pipes?.stderr.release()
  const streams = {
    stdout: pipes?.stdout.stream ?? child.stdout,
    stderr: pipes?.stderr.stream ?? child.stderr,
  }
  const kept = { stdout: new KeptOutput(options.outputBytes), stderr: new KeptOutput(options.outputBytes) }
  const strays = isOpen ? findStrays(confinement, box) : undefined
  let stopped: JobOutcome | undefined
  let leftovers: Promise<Process[]> = Promise.resolve([])

  const stop = (outcome: JobOutcome): void => {
    if (stopped || child.exitCode !== null || child.signalCode !== null) return
    stopped = outcome
    const { pid } = child
    if (pid === undefined) return
    // The tree is listed first: once the first process is gone its children belong to nobody we know.
    leftovers = listTree(pid).finally(() => (isOpen ? kill(-pid) : kill(pid)))
  }

  let received = 0
  const floodBytes = options.floodBytes ?? OUTPUT_FLOOD_BYTES
  for (const stream of ['stdout', 'stderr'] as const) {
    streams[stream]?.on('data', (bytes: Buffer) => {
      received += bytes.byteLength
      if (stopped?.kind === 'output_limit') return
      kept[stream].add(bytes)
      options.onOutput(stream, bytes)
      if (received > floodBytes) stop({ kind: 'output_limit' })
    })
  }
  const ready = readAll(child.stdio[3] as Readable | null, 64)
  const status = readAll(child.stdio[4] as Readable | null, 4096)

  const onAbort = (): void => {
    const reason: unknown = options.signal.reason
    stop(isOutcome(reason) ? reason : { kind: 'killed', signal: 'SIGKILL' })
  }
  if (options.signal.aborted) onAbort()
  options.signal.addEventListener('abort', onAbort)
  const timer = setTimeout(() => stop({ kind: 'timeout' }), options.timeoutSeconds * 1000)
  const watch =
    child.pid === undefined
      ? undefined
      : watchMemory({
          root: child.pid,
          memoryBytes: box.memoryBytes,
          processes: box.processes,
          ...(strays ? { more: strays } : {}),
          onExceeded: (what) =>
            stop(what === 'memory' ? { kind: 'out_of_memory' } : { kind: 'killed', signal: 'SIGKILL' }),
        })

  let exit: { code: number | null; signal: NodeJS.Signals | null }
  try {
    exit = await waitForExit(child)
  } finally {
    clearTimeout(timer)
    watch?.stop()
    options.signal.removeEventListener('abort', onAbort)
  }
  const durationMs = Math.round(performance.now() - started)
  if (isOpen && child.pid !== undefined) kill(-child.pid)
  const first = await firstProcess(await settle(status, ''))
  const gone = await killAll([...(await leftovers), ...first], strays)
  await settle(Promise.all([ended(streams.stdout), ended(streams.stderr)]), undefined)
  streams.stdout?.destroy()
  streams.stderr?.destroy()
  if (!gone) throw new Error('a process of the tool could not be killed')
  if ((await settle(ready, '')) !== 'ready\n') {
    throw new Error(
      `the sandbox could not be set up: ${kept.stderr.text().trim().slice(0, 500) || 'no reason given'}`,
    )
  }
  const stderr = kept.stderr.text()
  // Only a container counts for this tool alone.
  const isKilledForMemory =
    confinement === 'pod' && exit.code !== 0 && (await countMemoryKills()) > killedBefore
  return {
    outcome: stopped ?? (isKilledForMemory ? { kind: 'out_of_memory' } : exitOutcome(exit, stderr)),
    stdout: kept.stdout.text(),
    stderr,
    truncated: kept.stdout.truncated || kept.stderr.truncated,
    durationMs,
  }
}

/** How Node and Python say that they met the heap's or the kernel's limit before the watchdog did. */
const OUT_OF_MEMORY =
  /^(FATAL ERROR: .*(JavaScript heap out of memory|Allocation failed)|RangeError: (Array buffer allocation failed|Failed to allocate memory)|MemoryError\b)/m

/**
 * Inside a sandbox the first process passes a signal on as shells do, as 128 + its number, so an `exit 137` of the program's own
 * reads as SIGKILL; 160 and above are no signals.
 */
function exitOutcome(
  exit: { code: number | null; signal: NodeJS.Signals | null },
  stderr: string,
): JobOutcome {
  const number = (exit.code ?? 0) - 128
  const named = Object.entries(constants.signals).find(([, value]) => value === number && number < 32)
  const signal = exit.signal ?? named?.[0]
  if (exit.code !== 0 && OUT_OF_MEMORY.test(stderr)) return { kind: 'out_of_memory' }
  if (!signal) return { kind: 'exited', exit_code: exit.code ?? 1 }
  return { kind: 'killed', signal }
}

/** In a container everything but its first process is the tool's, wherever it went. */
function findStrays(confinement: Confinement, box: Box): () => Promise<Process[]> {
  if (confinement !== 'pod' || process.pid !== 1) return () => listStrays(box.directories.root)
  return async () => (await listProcesses()).filter(({ pid, zombie }) => pid !== process.pid && !zombie)
}

async function waitForExit(
  child: ChildProcess,
): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
  return await new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (code, signal) => resolve({ code, signal }))
  })
}

async function ended(stream: Readable | null): Promise<void> {
  if (!stream || stream.closed) return
  await new Promise<void>((resolve) => {
    stream.once('close', () => resolve())
  })
}

/** A short wait for what normally is there already; a process we may not see could hold a pipe open for ever. */
async function settle<Value, Other>(value: Promise<Value>, otherwise: Other): Promise<Value | Other> {
  const { promise, resolve } = Promise.withResolvers<Value | Other>()
  const timer = setTimeout(() => resolve(otherwise), 1000)
  value.then(resolve, () => resolve(otherwise))
  return await promise.finally(() => clearTimeout(timer))
}

async function readAll(stream: Readable | null, maxBytes: number): Promise<string> {
  let text = ''
  if (!stream) return text
  for await (const bytes of stream) if (text.length < maxBytes) text += String(bytes)
  return text
}

/** bubblewrap's first process outlives bubblewrap itself by a moment and may still write to the workspace. */
async function firstProcess(status: string): Promise<Process[]> {
  const pid = Number(/"child-pid":\s*(\d+)/.exec(status)?.[1])
  if (!Number.isSafeInteger(pid) || pid <= 1) return []
  const found = await readProcess(pid)
  return found ? [found] : []
}
