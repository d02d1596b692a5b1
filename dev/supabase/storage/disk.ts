import { createHash, randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { copyFile, link, mkdir, open, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { tooLarge } from './errors.ts'

export interface StoredBytes {
  /** Random; names the file. No name that a client chose ever becomes part of a path. */
  version: string
  size: number
  /** MD5 in quotes, as S3 gives for an upload in one part. */
  etag: string
}

export interface Disk {
  /** Writes to a temporary file; `keep` moves it into place, `drop` deletes it. @throws StorageError EntityTooLarge */
  receive(
    source: AsyncIterable<Uint8Array>,
    maxBytes: number,
  ): Promise<StoredBytes & { keep(): Promise<void>; drop(): Promise<void> }>
  copy(version: string): Promise<string>
  size(version: string): Promise<number | null>
  read(version: string, range: { start: number; end: number } | null): ReadableStream<Uint8Array>
  remove(versions: readonly (string | null)[]): Promise<void>
}

const VERSION = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

export async function openDisk(dir: string): Promise<Disk> {
  const temporary = join(dir, 'tmp')
  // What a killed process left half-written.
  await rm(temporary, { recursive: true, force: true })
  await mkdir(temporary, { recursive: true })
  const path = (version: string) => {
    // The database says the version; a row that somebody wrote by hand must not reach other files.
    if (!VERSION.test(version)) throw new Error('Not a version of an object')
    return join(dir, 'objects', version.slice(0, 2), version)
  }
  const prepare = async (version: string) => {
    await mkdir(join(dir, 'objects', version.slice(0, 2)), { recursive: true })
    return path(version)
  }
  return {
    receive: async (source, maxBytes) => {
      const version = randomUUID()
      const file = join(temporary, version)
      const drop = () => rm(file, { force: true })
      try {
        const { size, md5 } = await write(file, source, maxBytes)
        return {
          version,
          size,
          etag: `"${md5}"`,
          keep: async () => rename(file, await prepare(version)),
          drop,
        }
      } catch (error) {
        await drop()
        throw error
      }
    },
    copy: async (version) => {
      const next = randomUUID()
      const target = await prepare(next)
      // Stored files never change, so two names may share the bytes.
      await link(path(version), target).catch(() => copyFile(path(version), target))
      return next
    },
    size: async (version) => {
      if (!VERSION.test(version)) return null
      return (await stat(path(version)).catch(() => null))?.size ?? null
    },
    read: (version, range) => fileStream(path(version), range),
    remove: async (versions) => {
      for (const version of versions) {
        if (version !== null && VERSION.test(version)) await rm(path(version), { force: true })
      }
    },
  }
}

async function write(
  file: string,
  source: AsyncIterable<Uint8Array>,
  maxBytes: number,
): Promise<{ size: number; md5: string }> {
  const md5 = createHash('md5')
  const handle = await open(file, 'wx', 0o600)
  let size = 0
  try {
    for await (const chunk of source) {
      size += chunk.byteLength
      if (size > maxBytes) throw tooLarge()
      md5.update(chunk)
      await handle.writeFile(chunk)
    }
  } finally {
    await handle.close()
  }
  return { size, md5: md5.digest('hex') }
}

function fileStream(file: string, range: { start: number; end: number } | null): ReadableStream<Uint8Array> {
  const source = createReadStream(file, range ?? {})
  const chunks = source[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>
  return new ReadableStream<Uint8Array>({
    pull: async (controller) => {
      const { done, value } = await chunks.next()
      if (done) controller.close()
      else controller.enqueue(new Uint8Array(value))
    },
    cancel: () => {
      source.destroy()
    },
  })
}
