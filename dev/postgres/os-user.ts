import { accessSync, constants, readFileSync, statSync } from 'node:fs'
import { dirname } from 'node:path'

/** The unprivileged account that runs Postgres when we are root, or null when we are not root and run it ourselves. */
export interface OsUser {
  name: string
  uid: number
  gid: number
}

// Postgres refuses to run as root. An existing account is used because making one would change the machine.
const CANDIDATES = ['nobody', 'postgres', 'daemon'] as const

export function postgresOsUser(): OsUser | null {
  if (process.getuid?.() !== 0) return null
  const entries = new Map(
    readFileSync('/etc/passwd', 'utf8')
      .split('\n')
      .map((line) => line.split(':'))
      .map(([name = '', , uid, gid]) => [name, { name, uid: Number(uid), gid: Number(gid) }] as const),
  )
  for (const name of CANDIDATES) {
    const found = entries.get(name)
    if (found !== undefined && found.uid > 0) return found
  }
  throw new Error(
    `Postgres refuses to run as root and none of the accounts ${CANDIDATES.join(', ')} exists: run this as a normal user.`,
  )
}

/** Whether `user` may walk down to `path`: every directory above it must let others through. */
export function canReach(user: OsUser | null, path: string): boolean {
  if (user === null) return true
  for (let at = dirname(path); ; at = dirname(at)) {
    const stat = statSync(at, { throwIfNoEntry: false })
    if (stat !== undefined && !maySearch(user, stat)) return false
    if (at === dirname(at)) return true
  }
}

function maySearch(user: OsUser, stat: { mode: number; uid: number; gid: number }): boolean {
  if (stat.uid === user.uid) return (stat.mode & 0o100) !== 0
  if (stat.gid === user.gid) return (stat.mode & 0o010) !== 0
  return (stat.mode & 0o001) !== 0
}

/** /var/tmp survives a reboot, which /tmp need not; it is the fallback for data of a clone below /root. */
export function sharedTemporaryDir(): string {
  for (const dir of ['/var/tmp', '/tmp']) {
    try {
      accessSync(dir, constants.W_OK)
      return dir
    } catch {}
  }
  throw new Error('Neither /var/tmp nor /tmp can be written: Postgres has no place that its user can reach.')
}
