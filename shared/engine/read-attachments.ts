import { createHash } from 'node:crypto'
import type { AttachmentRequest } from '../contract/execute.ts'
import { AppError } from '../core/errors.ts'
import { inputPath } from '../core/input-path.ts'
import { type StorageProject, storageObjectOf } from '../core/storage-url.ts'
import type { Attachments, Blobs } from '../ports/blobs.ts'
import type { Caller } from '../ports/identity.ts'
import type { CreateRun, WorkspaceFile } from '../ports/store.ts'

export interface AttachmentPorts {
  /** Loaded on first use: most creates have no attachment. */
  blobs: () => Promise<Blobs>
  attachments: () => Promise<Attachments>
  attachmentLimits: { maxCount: number; maxBytes: number; maxTotalBytes: number }
  /** Storage projects of the trusted issuers. */
  projects: readonly StorageProject[]
}

type Taken = Pick<CreateRun, 'attachments' | 'files' | 'warnings'>

const FILE_MODE = 0o644

/**
 * Copies attachments into the owner's blobs, one at a time, so that one at most is in memory. Objects named by bucket and path must
 * be readable; what the older shape names and cannot be had is left out with a warning.
 *
 * @throws AppError invalid_attachment, unavailable
 */
export async function readAttachments(
  ports: AttachmentPorts,
  caller: Caller,
  owner: string,
  requests: readonly AttachmentRequest[],
): Promise<Taken> {
  const taken: Taken = { attachments: [], files: [], warnings: [] }
  let left = ports.attachmentLimits.maxTotalBytes
  for (const request of requests) {
    try {
      left -= await readOne(ports, caller, owner, request, taken, left)
    } catch (error) {
      const lenient =
        request.kind !== 'object' && error instanceof AppError && error.code === 'invalid_attachment'
      if (!lenient) throw error
      taken.warnings.push(`Attachment left out: ${error.message}`)
    }
    if (taken.warnings.length > ports.attachmentLimits.maxCount) break
  }
  return taken
}

async function readOne(
  ports: AttachmentPorts,
  caller: Caller,
  owner: string,
  request: AttachmentRequest,
  taken: Taken,
  leftBytes: number,
): Promise<number> {
  const { maxCount, maxBytes } = ports.attachmentLimits
  if (request.kind === 'unknown') throw invalid('it names neither a Storage object nor a URL')
  if (taken.files.length >= maxCount) throw invalid(`at most ${maxCount} attachments`)
  const { object, reader, name } = locate(ports, caller, request)
  const attachments = await ports.attachments()
  const bytes = await attachments.read(reader, object, { maxBytes: Math.min(maxBytes, leftBytes) })
  // Asserted on this side too: a limit that only the adapter keeps is one adapter away from none.
  if (bytes.byteLength > Math.min(maxBytes, leftBytes)) throw invalid('it is too large')

  const sha256 = createHash('sha256').update(bytes).digest('hex')
  const blobs = await ports.blobs()
  await blobs.put(owner, sha256, bytes)
  const path = inputPath(name, (candidate) => taken.files.some((file) => file.path === candidate))
  const file: WorkspaceFile = { path, sha256, size: bytes.byteLength, mode: FILE_MODE }
  taken.files.push(file)
  taken.attachments.push({
    path,
    name: path.slice(path.lastIndexOf('/') + 1),
    bucket: object.bucket,
    size: file.size,
  })
  return file.size
}

function locate(
  { projects }: AttachmentPorts,
  caller: Caller,
  request: Exclude<AttachmentRequest, { kind: 'unknown' }>,
): { object: { bucket: string; path: string }; reader: Caller; name: string } {
  if (request.kind === 'object') {
    const { bucket, path } = request
    if (bucket.trim() === '' || path.trim() === '') throw invalid('bucket and path must not be empty')
    return { object: { bucket, path }, reader: caller, name: path }
  }
  const found = storageObjectOf(request.url, projects)
  if (found === null) throw invalid('its URL is not in the Storage of a trusted project')
  const reader = { ...caller, projectUrl: found.project.url, projectKey: found.project.key }
  return { object: found.object, reader, name: request.name === '' ? found.object.path : request.name }
}

function invalid(reason: string): AppError {
  return new AppError('invalid_attachment', `Invalid attachment: ${reason}`)
}
