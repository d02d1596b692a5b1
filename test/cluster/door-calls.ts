import { type ChildProcess, spawn } from 'node:child_process'
import { type PodWatch, watchPods } from './pod-watch.ts'

export interface DoorCall {
  /** ms since the epoch, as the door says. */
  time: string
  method: string
  path: string
  status: number
  duration_ms: number
}

/** Every request that the door answered from now on, out of the logs of its pods: those go with the pods, so they are read as they come. */
export async function followDoor(): Promise<{ of(runId: string): DoorCall[]; stop(): void }> {
  const pods: PodWatch = await watchPods('agents')
  const lines = new Set<string>()
  const followed = new Map<string, ChildProcess>()
  const follow = (name: string) => {
    const child = spawn('kubectl', ['logs', '-n', 'agents', name, '-c', 'function', '--follow'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    followed.set(name, child)
    let rest = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      const parts = (rest + text).split('\n')
      rest = parts.pop() ?? ''
      // named by pod: a log that is followed anew begins at its beginning
      for (const part of parts) lines.add(part)
    })
    // its container had not started yet, or the connection ended
    child.on('close', () => followed.delete(name))
  }
  const timer = setInterval(() => {
    for (const { name } of pods.running('agent-door')) if (!followed.has(name)) follow(name)
  }, 250)
  return {
    of: (runId) =>
      [...lines]
        .filter((line) => line.includes(`/agent/step/job/${runId}/`) && line.includes('"msg":"request"'))
        .map((line) => JSON.parse(line) as DoorCall),
    stop() {
      clearInterval(timer)
      for (const child of followed.values()) child.kill()
      pods.stop()
    },
  }
}
