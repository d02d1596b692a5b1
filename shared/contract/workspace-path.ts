/** Longest path of a workspace file in bytes of UTF-8; a part of it may have 255, as file systems allow. */
export const WORKSPACE_PATH_BYTES = 512
const PART_BYTES = 255

/**
 * Says what is wrong with a workspace path, or nothing when it is right: relative, POSIX, NFC, no empty, `.` or `..` part, no
 * control characters (a newline in a name fakes lines in listings, Postgres cannot store NUL). Free of zod, for the runner.
 */
export function workspacePathFault(path: string): string | undefined {
  if (path.length === 0) return 'is empty'
  const bytes = new TextEncoder().encode(path).byteLength
  if (bytes > WORKSPACE_PATH_BYTES) return `is ${bytes} bytes long, ${WORKSPACE_PATH_BYTES} are allowed`
  if (path.startsWith('/')) return 'is absolute'
  if (/\p{Cc}/u.test(path)) return 'has a control character in it'
  if (!path.isWellFormed()) return 'is not valid Unicode'
  if (path.normalize('NFC') !== path) return 'is not in Unicode normal form C'
  for (const part of path.split('/')) {
    if (part === '' || part === '.' || part === '..') return 'has an empty, "." or ".." part'
    if (new TextEncoder().encode(part).byteLength > PART_BYTES)
      return `has a part longer than ${PART_BYTES} bytes`
  }
  return undefined
}
