import { createHash } from 'node:crypto'
import { AppError } from '../../core/errors.ts'
import type { Artifacts, Attachments, Blobs, PublishedArtifact } from '../../ports/blobs.ts'
import type { StoredObject } from '../../ports/store.ts'
import type { SupabaseOptions } from './rpc.ts'
import { isDuplicate, storageClient, storageStatus } from './storage-client.ts'

const BLOB_BUCKET = 'agent-workspaces'
const OUTPUT_BUCKET = 'agent-outputs'
/** A week: long enough for a result page that stays open; status signs anew when it has run out. */
const SIGNED_URL_SECONDS = 7 * 24 * 3600

function unavailable(error: unknown): AppError {
  return new AppError('unavailable', 'The file storage does not answer', {
    retryAfterSeconds: 2,
    cause: error,
  })
}

/** Blobs in the private bucket `agent-workspaces` as `<owner>/<sha256>`. */
export function createBlobs(options: SupabaseOptions): Blobs {
  const bucket = storageClient(options).from(BLOB_BUCKET)
  return {
    async put(owner, sha256, bytes) {
      const { error } = await bucket.upload(`${owner}/${sha256}`, bytes, {
        contentType: 'application/octet-stream',
      })
      if (error !== null && !isDuplicate(error)) throw unavailable(error)
    },
    async get(owner, sha256) {
      const { data, error } = await bucket.download(`${owner}/${sha256}`)
      if (error !== null) {
        if (storageStatus(error) === 404 || storageStatus(error) === 400) {
          throw new AppError('not_found', `A file of the workspace is missing (${sha256.slice(0, 12)}…)`, {
            cause: error,
          })
        }
        throw unavailable(error)
      }
      const bytes = new Uint8Array(await data.arrayBuffer())
      if (createHash('sha256').update(bytes).digest('hex') !== sha256) {
        throw new AppError('not_found', `A file of the workspace is damaged (${sha256.slice(0, 12)}…)`)
      }
      return bytes
    },
  }
}

/** Produced files in `agent-outputs` as `<owner>/<run>/<first 16 of the hash>/<filename>`. */
export function createArtifacts(options: SupabaseOptions): Artifacts {
  const bucket = storageClient(options).from(OUTPUT_BUCKET)
  const sign: Artifacts['sign'] = async ({ storage_bucket, storage_key }): Promise<PublishedArtifact> => {
    const { data, error } = await bucket.createSignedUrl(storage_key, SIGNED_URL_SECONDS)
    if (error !== null) throw unavailable(error)
    return {
      storage_bucket,
      storage_key,
      signed_url: data.signedUrl,
      signed_url_expires_at: new Date(Date.now() + SIGNED_URL_SECONDS * 1000).toISOString(),
    }
  }
  return {
    sign,
    async publish({ owner, runId, filename, sha256, fileType, bytes }) {
      // Storage keys take a limited alphabet; the file's own name stays in the row and in the download header.
      const safe =
        filename
          .normalize('NFKD')
          .replaceAll(/[^\w.-]+/g, '_')
          .slice(-100) || 'file'
      const key = `${owner}/${runId}/${sha256.slice(0, 16)}/${safe}`
      const { error } = await bucket.upload(key, bytes, { contentType: fileType })
      if (error !== null && !isDuplicate(error)) throw unavailable(error)
      return sign({ storage_bucket: OUTPUT_BUCKET, storage_key: key })
    },
  }
}

/** Removes objects and answers which are gone, those that were not there included. Storage leaves out what the role may not delete. */
export async function removeObjects(
  options: SupabaseOptions,
  objects: readonly StoredObject[],
): Promise<StoredObject[]> {
  const client = storageClient(options)
  const gone: StoredObject[] = []
  for (const [bucket, listed] of Map.groupBy(objects, (object) => object.bucket)) {
    const names = listed.map(({ name }) => name)
    const { error } = await client.from(bucket).remove(names)
    if (error !== null) throw unavailable(error)
    gone.push(...listed)
  }
  return gone
}

/** Reads attachments from the Storage of the caller's own project with the caller's own token: its policies decide. */
export function createAttachments({ timeoutMs }: { timeoutMs: number }): Attachments {
  return {
    async read(caller, { bucket, path }, { maxBytes }) {
      const refused = () =>
        new AppError('invalid_attachment', `Attachment ${bucket}/${path} does not exist or is not yours`)
      if (caller.projectUrl === null)
        throw new AppError('invalid_attachment', 'Attachments are not available for users of this issuer')
      // storage-js puts the path into an address as it is: every part must name itself and nothing else
      const parts = path.split('/')
      if (parts.some((part) => part === '' || part === '.' || part === '..')) throw refused()
      const safePath = parts.map(encodeURIComponent).join('/')
      const client = storageClient({
        url: caller.projectUrl,
        anonKey: caller.projectKey ?? '',
        roleToken: caller.accessToken,
        timeoutMs,
      }).from(encodeURIComponent(bucket))
      const { data, error } = await client.download(safePath)
      if (error !== null) {
        const status = storageStatus(error)
        if (status >= 400 && status < 500 && status !== 429) throw refused()
        throw unavailable(error)
      }
      if (data.size > maxBytes) {
        throw new AppError(
          'invalid_attachment',
          `Attachment ${bucket}/${path} is larger than ${maxBytes} bytes`,
        )
      }
      return new Uint8Array(await data.arrayBuffer())
    },
  }
}
