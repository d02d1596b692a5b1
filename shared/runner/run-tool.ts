import { chmod, chown, mkdir, stat, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import type { JobOutcome, JobStartAnswer } from '../contract/job.ts'
import { accountFiles, type Box, type Identity, pickIdentity } from './box.ts'
import type { Confinement } from './confinement.ts'
import { type Execution, execute } from './execute.ts'
import { OPEN_FILES_LIMIT, PROCESS_LIMIT, WORKSPACE_WATCH_EVERY_MS } from './limits.ts'
import { type JobDirectories, placesIn } from './places.ts'
import { POD_SOCKET } from './pod.ts'
import { makeProgram } from './program.ts'
import { Refusal } from './refusal.ts'
import { remoteExecute } from './remote-execute.ts'
import { measureWorkspace } from './scan-workspace.ts'

/** Makes the job's directories; answers the user that the tool will run as. */
export async function prepareDirectories(
  confinement: Confinement,
  directories: JobDirectories,
): Promise<Identity | undefined> {
  if (confinement === 'pod') {
    await mkdir(directories.program, { mode: 0o755 })
    return undefined
  }
  await mkdir(directories.root, { mode: 0o700 })
  for (const path of [directories.workspace, directories.program, directories.temporary, directories.mount]) {
    await mkdir(path)
    await chmod(path, 0o755)
  }
  const identity = pickIdentity()
  if (!identity || confinement !== 'none') return identity
  // Without a mount namespace another user gets here only if every folder above lets them through.
  for (let path = dirname(directories.root); path !== '/'; path = dirname(path)) {
    if (((await stat(path)).mode & 0o001) === 0) return undefined
  }
  await chmod(directories.root, 0o711)
  await chown(directories.temporary, identity.uid, identity.gid)
  return identity
}

/** The tool's user in a pod, where both containers have the same. */
function ownIdentity(): Identity | undefined {
  const [uid, gid] = [process.getuid?.(), process.getgid?.()]
  return uid === undefined || gid === undefined ? undefined : { uid, gid }
}

/** Runs the tool in its restored workspace. Rejects with a Refusal for what cannot be run, with an Error when the sandbox fails. */
export async function runTool(options: {
  confinement: Confinement
  directories: JobDirectories
  identity: Identity | undefined
  start: JobStartAnswer
  /** Upper bound besides the tool's own limits. */
  maxSeconds: number
  onOutput(stream: 'stdout' | 'stderr', bytes: Buffer): void
  signal: AbortSignal
}): Promise<Execution> {
  const { confinement, directories, identity, start } = options
  const { limits } = start
  const places = placesIn(confinement, directories)
  const program = makeProgram(start.tool, places, limits.memory_bytes)
  const cwd = await stat(join(directories.workspace, relative(places.workspace, program.cwd))).catch(
    () => undefined,
  )
  if (!cwd?.isDirectory()) throw new Refusal('working_dir is not a folder of the workspace')

  const file = join(directories.program, program.file)
  await writeFile(file, program.text, { mode: 0o644 })
  for (const [name, text] of Object.entries(accountFiles(confinement === 'pod' ? ownIdentity() : identity))) {
    await writeFile(join(directories.program, name), text, { mode: 0o644 })
  }
  const box: Box = {
    directories,
    places,
    argv: program.argv,
    cwd: program.cwd,
    env: {
      PATH: places.path,
      HOME: places.home,
      TMPDIR: places.temporary,
      LANG: 'C.UTF-8',
      USER: 'tool',
      LOGNAME: 'tool',
      ...program.env,
    },
    memoryBytes: limits.memory_bytes,
    fileBytes: limits.file_bytes,
    temporaryBytes: Math.min(limits.workspace_bytes, limits.memory_bytes),
    processes: PROCESS_LIMIT,
    openFiles: OPEN_FILES_LIMIT,
    identity,
  }
  const timeoutSeconds = Math.min(
    program.timeoutSeconds ?? Infinity,
    limits.timeout_seconds,
    options.maxSeconds,
  )
  const watch = watchWorkspace(directories.workspace, limits)
  try {
    const shared = {
      box,
      stdin: program.onStdin ? file : undefined,
      timeoutSeconds,
      outputBytes: limits.output_bytes,
      onOutput: options.onOutput,
      signal: AbortSignal.any([options.signal, watch.signal]),
    }
    return confinement === 'pod'
      ? await remoteExecute({ ...shared, socket: POD_SOCKET })
      : await execute({ ...shared, confinement, namedPipes: true })
  } finally {
    watch.stop()
  }
}

/** Aborts with a refusal as its reason when the tool floods the disk. */
function watchWorkspace(
  workspace: string,
  limits: JobStartAnswer['limits'],
): { signal: AbortSignal; stop(): void } {
  const abort = new AbortController()
  let stopped = false
  let timer: NodeJS.Timeout
  const look = async (): Promise<void> => {
    const started = Date.now()
    const fault = await measureWorkspace(workspace, limits)
    if (fault) abort.abort({ kind: 'refused', reason: fault } satisfies JobOutcome)
    // At most a tenth of the time goes into looking, however many files there are.
    const pauseMs = Math.max(WORKSPACE_WATCH_EVERY_MS, (Date.now() - started) * 10)
    if (!stopped && !fault) timer = setTimeout(again, pauseMs)
  }
  const again = (): void => {
    look().catch(() => {
      if (!stopped) timer = setTimeout(again, WORKSPACE_WATCH_EVERY_MS)
    })
  }
  timer = setTimeout(again, WORKSPACE_WATCH_EVERY_MS)
  return {
    signal: abort.signal,
    stop() {
      stopped = true
      clearTimeout(timer)
    },
  }
}
