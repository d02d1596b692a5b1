import { spawn } from 'node:child_process'

export interface Watchdog {
  /** To be called after the process has been stopped in the ordinary way. */
  dismiss(): void
}

/**
 * Stops a process that outlives ours: a shell waits for the end of a pipe from us, which comes even when we are SIGKILLed, and sends
 * SIGINT then (Postgres: fast shutdown). It checks the start time first, because pids are reused.
 */
export function watchOver(pid: number): Watchdog {
  const script = `
    started() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20; }
    before=$(started "$0")
    read -r word
    [ "$word" != dismissed ] && [ "$(started "$0")" = "$before" ] && kill -INT "$0"`
  const child = spawn('/bin/sh', ['-c', script, String(pid)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
    env: { PATH: '/usr/bin:/bin' },
  })
  child.on('error', () => {})
  child.stdin.on('error', () => {})
  child.unref()
  return { dismiss: () => void child.stdin.end('dismissed\n') }
}
