import { AppError } from '../../shared/core/errors.ts'
import type { Artifacts, Blobs } from '../../shared/ports/blobs.ts'
import { callPort, type Surroundings } from './call-port.ts'
import type { Process } from './kernel.ts'

/** Stored bytes, and the links to what was produced. */
export class SimBlobs {
  readonly #around: Surroundings
  readonly bytes = new Map<string, Uint8Array>()

  constructor(around: Surroundings) {
    this.#around = around
  }

  blobs(process: Process): Blobs {
    const faults = { rejected: 'blobs.rejected', doneButTimeout: 'blobs.rejected' } as const
    return {
      put: (owner, sha256, bytes) =>
        callPort(
          this.#around,
          process,
          'blobs.put',
          () => void this.bytes.set(`${owner}/${sha256}`, bytes),
          faults,
        ),
      get: (owner, sha256) =>
        callPort(
          this.#around,
          process,
          'blobs.get',
          () => {
            const found = this.bytes.get(`${owner}/${sha256}`)
            if (found === undefined) throw new AppError('not_found', 'A file of the workspace is missing')
            return found
          },
          faults,
        ),
    }
  }

  artifacts(process: Process): Artifacts {
    const link = (key: string) => ({
      storage_bucket: 'agent-outputs',
      storage_key: key,
      signed_url: `https://storage.example/${key}`,
      signed_url_expires_at: '2099-01-01T00:00:00.000Z',
    })
    return {
      publish: ({ owner, runId, sha256, filename }) =>
        callPort(
          this.#around,
          process,
          'artifacts.publish',
          () => link(`${owner}/${runId}/${sha256.slice(0, 16)}/${filename}`),
          {
            rejected: 'blobs.rejected',
          },
        ),
      sign: async ({ storage_key }) => link(storage_key),
    }
  }
}
