import { execFile } from 'node:child_process'
import { closeSync, constants, openSync, rmSync } from 'node:fs'
import { Socket } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'

export interface OutputPipe {
  /** The writing end, for the child; closed here with `release` once the child has it. */
  writeEnd: number
  stream: Socket
  release(): void
}

/**
 * Pipes for stdout and stderr. Node's own are socket pairs, and a socket cannot be opened again by its name: `echo > /dev/stderr`
 * and `tee /dev/stdout`, which every second script has, would fail. Named pipes whose names are removed at once.
 */
export async function openOutputPipes<Name extends string>(
  directory: string,
  names: readonly Name[],
): Promise<Record<Name, OutputPipe>> {
  const path = (name: string): string => join(directory, `${name}.pipe`)
  // Open to all: as root the tool is another user and opens them again; the directory is closed to everybody else.
  await promisify(execFile)('mkfifo', ['-m', '666', ...names.map(path)])
  const pipes: Partial<Record<Name, OutputPipe>> = {}
  for (const name of names) {
    // Reading first and without waiting: opening the writing end alone would wait for a reader.
    const readEnd = openSync(path(name), constants.O_RDONLY | constants.O_NONBLOCK)
    const writeEnd = openSync(path(name), constants.O_WRONLY)
    rmSync(path(name))
    let released = false
    pipes[name] = {
      writeEnd,
      stream: new Socket({ fd: readEnd, readable: true, writable: false }),
      release() {
        if (!released) closeSync(writeEnd)
        released = true
      },
    }
  }
  return pipes as Record<Name, OutputPipe>
}
