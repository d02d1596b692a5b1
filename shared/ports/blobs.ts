import type { Caller } from './identity.ts'

/** Workspace blobs are keyed by owner and SHA-256 (lower-case hex) of their bytes. */
export interface Blobs {
  put(owner: string, sha256: string, bytes: Uint8Array): Promise<void>
  /** Rejects with AppError `not_found` when it is gone, `unavailable` when the store is; verifies the hash. */
  get(owner: string, sha256: string): Promise<Uint8Array>
}

export interface PublishedArtifact {
  storage_bucket: string
  storage_key: string
  signed_url: string
  /** ISO 8601. */
  signed_url_expires_at: string
}

export interface Artifacts {
  /** Stores a produced file under a key derived from its arguments: a repeat lands on the same object. */
  publish(file: {
    owner: string
    runId: string
    filename: string
    sha256: string
    fileType: string
    bytes: Uint8Array
  }): Promise<PublishedArtifact>
  /** A fresh signed URL for an object published earlier. */
  sign(file: { storage_bucket: string; storage_key: string }): Promise<PublishedArtifact>
}

export interface Attachments {
  /** Reads an object with the caller's own token, so that only what they may read is read. Rejects with `invalid_attachment`. */
  read(
    caller: Caller,
    object: { bucket: string; path: string },
    limits: { maxBytes: number },
  ): Promise<Uint8Array>
}
