/** One sentence where the fault is one a user can mend; the place in our code where it is not. */
export function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const isOurs =
    error instanceof TypeError ||
    error instanceof ReferenceError ||
    error instanceof RangeError ||
    error instanceof SyntaxError
  const { code, path } = error as NodeJS.ErrnoException
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return 'There is no disk space left: free at least 1 GB and run this again.'
  if (path !== undefined && (code === 'EACCES' || code === 'EPERM'))
    return `${path} is closed to this user: change its owner (chown -R) or clone the repository again as this user.`
  if (path !== undefined && code === 'EROFS')
    return `${path} is on a read-only file system: copy the repository to a folder you can write to.`
  return isOurs ? (error.stack ?? error.message) : error.message
}
