import { randomInt } from 'node:crypto'
import type { JobDirectories, Places } from './places.ts'

/** One tool process to be confined: what to run, where, and how much it may take. */
export interface Box {
  directories: JobDirectories
  places: Places
  argv: string[]
  /** Working directory as the tool sees it. */
  cwd: string
  env: Record<string, string>
  memoryBytes: number
  fileBytes: number
  /** Size of the sandbox's /tmp and /dev/shm, which live in memory. */
  temporaryBytes: number
  processes: number
  openFiles: number
  /** As root the tool runs as this unprivileged user; otherwise undefined. */
  identity: Identity | undefined
}

export interface Identity {
  uid: number
  gid: number
}

/** What to spawn. File descriptor 3 gets `ready` once the tool's own program is about to start. */
export interface Wrapped {
  argv: string[]
  cwd: string
  env: Record<string, string>
}

/**
 * An own user id for each job when the runner is root: limits on processes are counted by user, and a tool must never be the
 * root of the host. 60000–64999 is the range Debian's policy leaves free.
 */
export function pickIdentity(): Identity | undefined {
  if (process.getuid?.() !== 0) return undefined
  const id = 60_000 + randomInt(5000)
  return { uid: id, gid: id }
}

/** Drops to the identity for good: no capability, none to be gained, no group. */
export function dropArguments(setpriv: string, identity: Identity | undefined): string[] {
  const user = identity ? [`--reuid=${identity.uid}`, `--regid=${identity.gid}`, '--clear-groups'] : []
  return [
    setpriv,
    ...user,
    '--no-new-privs',
    '--inh-caps=-all',
    '--ambient-caps=-all',
    '--bounding-set=-all',
    '--',
  ]
}

/**
 * Last stage before the tool, in sh: resource limits, which only a process itself can set from here, then the sign that the
 * sandbox stands. RLIMIT_DATA and not RLIMIT_AS: V8 and Go reserve address space that they never use. It is the backstop for
 * one huge allocation between two looks of the memory watchdog, hence twice the limit and 1 GiB: an idle Node has 0.6 GiB of it.
 */
export function limitArguments(box: Box, countProcesses: boolean): string[] {
  const dataKilobytes = Math.ceil((2 * box.memoryBytes) / 1024) + 1024 * 1024
  const lines = [
    'ulimit -c 0 2>/dev/null',
    `ulimit -n ${box.openFiles} 2>/dev/null`,
    `ulimit -f ${Math.ceil(box.fileBytes / 512)} 2>/dev/null`,
    `ulimit -d ${dataKilobytes} 2>/dev/null`,
    // dash names it -p, others -u.
    ...(countProcesses
      ? [`ulimit -u ${box.processes} 2>/dev/null || ulimit -p ${box.processes} 2>/dev/null`]
      : []),
    'umask 022',
    'mkdir -p "$HOME"',
    'cd "$TOOL_DIRECTORY" || exit 1',
    'unset TOOL_DIRECTORY OLDPWD',
    'echo ready >&3',
    'exec 3>&- 4>&-',
    'exec "$@"',
  ]
  return ['/bin/sh', '-c', lines.join('\n'), 'sh', ...box.argv]
}

/** Accounts as the sandbox shows them: programs ask for the name of their own user. */
export function accountFiles(identity: Identity | undefined): {
  passwd: string
  group: string
  hosts: string
} {
  const { uid, gid } = identity ?? { uid: 1000, gid: 1000 }
  return {
    passwd: `root:x:0:0:root:/nonexistent:/usr/sbin/nologin\ntool:x:${uid}:${gid}:tool:/tmp/home:/bin/sh\n`,
    group: `root:x:0:\ntool:x:${gid}:\n`,
    hosts: '127.0.0.1 localhost\n::1 localhost\n',
  }
}
