import { constants, createReadStream, type ReadStream } from 'node:fs'

/** Never through a link: what was a file when it was found must still be one. Node takes flags as a number, its types do not. */
export function readFileStream(path: string): ReadStream {
  return createReadStream(path, { flags: (constants.O_RDONLY | constants.O_NOFOLLOW) as unknown as string })
}
