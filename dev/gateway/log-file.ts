import { closeSync, mkdirSync, openSync, renameSync, statSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'

export interface LogFile {
  write(text: string): void
  close(): void
}

/**
 * An append-only file that is moved to `<path>.1` when it would pass `maxBytes`, so that at most twice that is kept. Writes are
 * synchronous: the last lines before a crash are the ones worth having. A full disk drops lines, it does not stop the stack.
 */
export function openLogFile(path: string, { maxBytes = 5_000_000 }: { maxBytes?: number } = {}): LogFile {
  mkdirSync(dirname(path), { recursive: true })
  let file: number | undefined
  let size = 0
  const open = () => {
    file = openSync(path, 'a', 0o600)
    size = statSync(path).size
  }
  const close = () => {
    if (file !== undefined) closeSync(file)
    file = undefined
  }
  open()
  return {
    write(text) {
      if (file === undefined) return
      try {
        if (size > 0 && size + text.length > maxBytes) {
          close()
          renameSync(path, `${path}.1`)
          open()
        }
        if (file !== undefined) size += writeSync(file, text)
      } catch {
        if (file === undefined) tryQuietly(open)
      }
    },
    close,
  }
}

function tryQuietly(action: () => void) {
  try {
    action()
  } catch {
    // still no disk: the next line tries again
  }
}
