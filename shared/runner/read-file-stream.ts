import { constants, createReadStream, type ReadStream } from 'node:fs'
import { open, readlink } from 'node:fs/promises'
import { Refusal } from './refusal.ts'

/**
 * Opens a file of the workspace whose real path was found before. Never through a link, and not even when a folder above was
 * swapped for one meanwhile (a tool in a pod may outlive its end): what was opened is asked for its path.
 */
export async function readFileStream(path: string): Promise<ReadStream> {
  // Without waiting: a pipe in the file's place would have no writer.
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(
    (error: NodeJS.ErrnoException) => {
      throw ['ELOOP', 'ENOENT', 'ENOTDIR', 'ENXIO'].includes(error.code ?? '') ? swapped() : error
    },
  )
  try {
    const isThere = (await file.stat()).isFile()
    // Only Linux can say which path was opened, and only there are tools confined.
    const opened = process.platform === 'linux' ? await readlink(`/proc/self/fd/${file.fd}`) : path
    if (!isThere || opened !== path) throw swapped()
    return createReadStream(path, { fd: file })
  } catch (error) {
    await file.close()
    throw error
  }
}

function swapped(): Refusal {
  return new Refusal('a file was swapped for something else while it was read')
}
