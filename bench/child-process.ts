import { type ChildProcess, fork } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export interface Child {
  pid: number
  port: number
  /** All that it said when it was ready. */
  said: Readonly<Record<string, string>>
  stop(): Promise<void>
}

const START_TIMEOUT_MS = 20_000
/** Of /proc/<pid>/stat on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100

/** Starts `child/<name>.ts`, which sends `{port}` when it listens and ends when our end of its channel closes. */
export async function startChild(name: string, args: Readonly<Record<string, unknown>>): Promise<Child> {
  const child = fork(fileURLToPath(new URL(`./child/${name}.ts`, import.meta.url)), [JSON.stringify(args)], {
    execArgv: ['--disable-warning=ExperimentalWarning'],
  })
  const { pid } = child
  if (pid === undefined) throw new Error(`${name} could not be started`)
  const said = await new Promise<Record<string, string>>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${name} did not start`)), START_TIMEOUT_MS)
    child.once('message', (message: Record<string, string>) => {
      clearTimeout(timer)
      resolve(message)
    })
    child.once('exit', (code) => {
      clearTimeout(timer)
      reject(new Error(`${name} ended with ${code}`))
    })
  })
  return { pid, port: Number(said.port), said, stop: () => stopped(child) }
}

function stopped(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve()
  return new Promise((resolve) => {
    child.once('exit', () => resolve())
    child.kill('SIGKILL')
  })
}

/** CPU milliseconds of a process with all its threads, in steps of 10. */
export function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / TICKS_PER_SECOND
}

/** CPU milliseconds of the only thread of a process, to the nanosecond. */
export function threadCpuMs(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[0]) / 1e6
}

/** Resident memory in MiB. */
export function residentMiB(pid: number): number {
  const kib = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return Number(kib) / 1024
}
