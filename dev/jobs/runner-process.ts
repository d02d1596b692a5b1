import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import type { RunnerJob } from '../../shared/runner/job.ts'
import {
  kill,
  killAll,
  listStrays,
  listTree,
  type Process,
  readProcess,
} from '../../shared/runner/processes.ts'
import { removeDirectory } from '../../shared/runner/remove-directory.ts'

export interface RunnerEnd {
  /** True when the runner delivered the result. */
  reported: boolean
  reason: string
}

/** One runner with everything below it. */
export class RunnerProcess {
  readonly #child: ChildProcess
  readonly #workRoot: string
  #leftovers: Promise<Process[]> = Promise.resolve([])
  /** Resolves once neither the runner nor a process of its tool is left; never rejects. */
  readonly ended: Promise<RunnerEnd>

  constructor(options: { nodePath: string; runnerPath: string; job: RunnerJob }) {
    this.#workRoot = options.job.work_root
    mkdirSync(this.#workRoot, { recursive: true })
    this.#child = spawn(options.nodePath, ['--disable-warning=ExperimentalWarning', options.runnerPath], {
      // Nothing of the stack's environment: it holds the functions' secrets.
      env: { PATH: process.env.PATH ?? '/usr/bin:/bin', LANG: 'C.UTF-8' },
      stdio: ['pipe', 'ignore', 'pipe'],
      // An own group: Ctrl-C in the terminal reaches the stack alone, which then stops runners in order.
      detached: true,
    })
    let lastWords = ''
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      lastWords = (lastWords + text).slice(-4000)
    })
    // Left open: its end tells the runner that the daemon died.
    this.#child.stdin?.on('error', () => undefined)
    this.#child.stdin?.write(`${JSON.stringify(options.job)}\n`)
    this.ended = this.#end(() => lastWords)
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  async identify(): Promise<Process | undefined> {
    return this.#child.pid === undefined ? undefined : await readProcess(this.#child.pid)
  }

  kill(): void {
    const { pid } = this.#child
    if (pid === undefined || this.#child.exitCode !== null || this.#child.signalCode !== null) return
    this.#leftovers = listTree(pid).finally(() => kill(pid))
  }

  async #end(lastWords: () => string): Promise<RunnerEnd> {
    const exit = await new Promise<{ code: number | null; signal: string | null; fault?: string }>(
      (resolve) => {
        this.#child.once('error', (error) => resolve({ code: null, signal: null, fault: error.message }))
        this.#child.once('exit', (code, signal) => resolve({ code, signal }))
      },
    )
    const gone = await killAll(await this.#leftovers, () => listStrays(this.#workRoot))
    await removeDirectory(this.#workRoot).catch(() => undefined)
    if (exit.code === 0 && gone) return { reported: true, reason: 'the result was delivered' }
    if (!gone) return { reported: false, reason: 'a process of the tool could not be killed' }
    if (exit.fault)
      return { reported: false, reason: `the tool's runner could not be started: ${exit.fault}` }
    if (exit.signal) return { reported: false, reason: `the tool's runner was killed (${exit.signal})` }
    return { reported: false, reason: `the tool's runner failed: ${lastMessage(lastWords())}` }
  }
}

/** After a crash of the daemon: ends a runner that is still there, with its tree. */
export async function killLeftRunner(
  runner: { pid: number; start: string } | undefined,
  workRoot: string,
): Promise<void> {
  const found = runner && (await readProcess(runner.pid))
  const tree = found && found.start === runner.start ? await listTree(runner.pid) : []
  await killAll(tree, () => listStrays(workRoot))
  await removeDirectory(workRoot).catch(() => undefined)
}

function lastMessage(lines: string): string {
  const last = lines.trim().split('\n').at(-1) ?? ''
  try {
    const { message } = JSON.parse(last) as { message?: unknown }
    if (typeof message === 'string') return message.slice(0, 1000)
  } catch {
    // Not one of its log lines: a crash of Node itself.
  }
  return last.slice(0, 1000) || 'it said nothing'
}
