import { AppError } from '../../shared/core/errors.ts'
import type { Artifacts, Blobs } from '../../shared/ports/blobs.ts'
import type { StoredObject } from '../../shared/ports/store.ts'
import { callPort, type Surroundings } from './call-port.ts'
import type { Process } from './kernel.ts'

/** Stored bytes, and the links to what was produced. */
export class SimBlobs {
  readonly #around: Surroundings
  readonly bytes = new Map<string, Uint8Array>()
  /** Keys of what was handed to users. */
  readonly published = new Set<string>()

  constructor(around: Surroundings) {
    this.#around = around
  }

  blobs(process: Process): Blobs {
    const faults = { rejected: 'blobs.rejected', doneButTimeout: 'blobs.done_but_timeout' } as const
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

  /** Answers which are gone; a removal may stop half way. */
  remove(
    process: Process,
    objects: readonly StoredObject[],
    isInUse: (object: StoredObject) => boolean,
  ): Promise<StoredObject[]> {
    const { random, broken } = this.#around
    const work = () => {
      const gone = random.chance(0.8) ? objects : objects.slice(0, random.between(0, objects.length))
      for (const object of gone) {
        if (isInUse(object)) broken('bytes in use are never removed', object.name)
        this.bytes.delete(object.name)
        this.published.delete(object.name)
      }
      return [...gone]
    }
    return callPort(this.#around, process, 'objects.remove', work, {
      weight: 6,
      rejected: 'objects.rejected',
      doneButTimeout: 'objects.done_but_timeout',
    })
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
          () => {
            const key = `${owner}/${runId}/${sha256.slice(0, 16)}/${filename}`
            this.published.add(key)
            return link(key)
          },
          {
            rejected: 'blobs.rejected',
            doneButTimeout: 'blobs.done_but_timeout',
          },
        ),
      sign: async ({ storage_key }) => link(storage_key),
    }
  }
}
